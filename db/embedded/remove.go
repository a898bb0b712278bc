package embedded

import (
	"context"
	"fmt"
	"os"
)

// Remove stops a cluster whose owner is gone and deletes its folder with all data. It refuses
// (ErrInUse) while the owner lives, or when a server runs there that this package did not start.
func Remove(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("remove cluster: %w", err)
	}
	c, err := Config{Dir: dir}.filled()
	if err != nil {
		return err
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return err
	}
	defer lock.release()
	s := &Server{config: c}
	if err := s.reclaim(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(c.Dir); err != nil {
		return fmt.Errorf("remove cluster: %w", err)
	}
	return nil
}

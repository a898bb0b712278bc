//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// written is what writers did.
type written struct {
	rows int64
	rate float64 // transactions a second
}

// writer makes transactions of one row, each by the same prepared statement, over
// several connections at once.
type writer interface {
	String() string
	write(ctx context.Context, url string, connections int, length time.Duration) (written, error)
}

// newWriter takes pgbench where there is one: it costs less CPU than Go, which
// on a small machine the server is short of. The statement is given in pgbench's
// words and as SQL, where $1, if it is there, is the connection's number.
func (b *bench) newWriter(name, script, statement string) (writer, error) {
	program := b.cluster.Bin("pgbench")
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("pgbench"); err != nil {
			return pgxWriter{statement}, nil
		}
	}
	file := filepath.Join(b.dir, name+".sql")
	if err := os.WriteFile(file, []byte(script+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write pgbench script: %w", err)
	}
	return pgbench{program: program, script: file}, nil
}

// pgbench is PostgreSQL's own benchmark program.
type pgbench struct{ program, script string }

// String names the writer in the table.
func (pgbench) String() string { return "pgbench -M prepared" }

func (p pgbench) write(ctx context.Context, url string, connections int, length time.Duration) (written, error) {
	seconds := max(1, int(length.Round(time.Second)/time.Second))
	cmd := exec.CommandContext(ctx, p.program, "-n", "-M", "prepared", "-f", p.script,
		"-c", strconv.Itoa(connections), "-j", strconv.Itoa(min(connections, 2)), "-T", strconv.Itoa(seconds), url)
	cmd.WaitDelay = time.Second
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return written{}, fmt.Errorf("run pgbench: %w: %s", err, strings.TrimSpace(problems.String()))
	}
	return parsePgbench(string(out))
}

// parsePgbench reads what pgbench prints at its end.
func parsePgbench(out string) (written, error) {
	rows := regexp.MustCompile(`transactions actually processed: (\d+)`).FindStringSubmatch(out)
	rate := regexp.MustCompile(`tps = ([\d.]+) \(without`).FindStringSubmatch(out)
	if rows == nil || rate == nil {
		return written{}, fmt.Errorf("read pgbench's output: no figures in %q", out)
	}
	n, err := strconv.ParseInt(rows[1], 10, 64)
	tps, rateErr := strconv.ParseFloat(rate[1], 64)
	return written{n, tps}, errors.Join(err, rateErr)
}

// pgxWriter is a goroutine for each connection.
type pgxWriter struct{ statement string }

// String names the writer in the table.
func (pgxWriter) String() string { return "pgx, prepared statements" }

func (p pgxWriter) write(ctx context.Context, url string, connections int, length time.Duration) (written, error) {
	conns, err := connectAll(ctx, url, connections)
	defer closeAll(conns)
	if err != nil {
		return written{}, err
	}
	var rows atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for i, conn := range conns {
		var args []any
		if strings.Contains(p.statement, "$1") {
			args = append(args, strconv.Itoa(i))
		}
		group.Go(func() error { // ends when the time is over
			for time.Since(start) < length {
				if _, err := conn.Exec(ctx, p.statement, args...); err != nil {
					return fmt.Errorf("write: %w", err)
				}
				rows.Add(1)
			}
			return nil
		})
	}
	err = group.Wait()
	return written{rows.Load(), float64(rows.Load()) / time.Since(start).Seconds()}, err
}

// connectAll opens connections; those it opened are returned also with an error.
func connectAll(ctx context.Context, url string, n int) ([]*pgx.Conn, error) {
	var conns []*pgx.Conn
	for range n {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

func closeAll(conns []*pgx.Conn) {
	for _, conn := range conns {
		_ = closeConn(conn) // nothing hangs on it: each statement was answered
	}
}

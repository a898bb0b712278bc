package seamtest

import (
	"os"
	"testing"

	"example.com/notifier/db/dbtest"
)

// TestMain is also the server that the test kills.
func TestMain(m *testing.M) {
	if url := os.Getenv(serverURL); url != "" {
		os.Exit(serve(url, os.Getenv(serverAddress)))
	}
	dbtest.Main(m)
}

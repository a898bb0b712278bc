package embedded

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says where a cluster lives and how it runs. Its zero values are usable but for Dir.
type Config struct {
	// Dir is the cluster's home folder; required. It is made if it is missing.
	Dir string
	// BinDir holds initdb and postgres; empty means Find.
	BinDir string
	// Port on 127.0.0.1; 0 takes a free one, kept over Restart but not over Start.
	Port int
	// User is the cluster's superuser, Password its password (SCRAM), Database a database
	// made when it is missing. Each is "notifier" when empty.
	User, Password, Database string
	// Durable keeps what PostgreSQL promises about crashes of the machine. Without it
	// (tests) commits reach the disk whenever they like; a crash of the server loses nothing.
	Durable bool
	// Settings are further server settings, as in postgresql.conf; they win over ours.
	Settings map[string]string
	// StartTimeout bounds the way to the first accepted connection, crash recovery
	// included; 0 means 2 minutes.
	StartTimeout time.Duration
	// Download says whether binaries may be fetched when the machine has none.
	Download Download
	// Progress is told, line by line, about what takes long; nil says nothing.
	Progress io.Writer
	// Logger gets the server's starts and stops; nil discards them.
	Logger *slog.Logger
}

const (
	defaultName         = "notifier"
	defaultStartTimeout = 2 * time.Minute
)

// filled returns c with its defaults, or every problem it has.
func (c Config) filled() (Config, error) {
	var problems []error
	if c.Dir == "" {
		problems = append(problems, errors.New("embedded postgres: Dir is empty"))
	}
	if c.Port < 0 || c.Port > 65535 {
		problems = append(problems, fmt.Errorf("embedded postgres: port %d is not in 0..65535", c.Port))
	}
	dir, err := filepath.Abs(c.Dir)
	problems = append(problems, err)
	c.Dir = dir
	orDefault(&c.User, defaultName)
	orDefault(&c.Password, defaultName)
	orDefault(&c.Database, defaultName)
	if c.StartTimeout <= 0 {
		c.StartTimeout = defaultStartTimeout
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Download = c.Download.filled()
	return c, errors.Join(problems...)
}

func orDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func (c Config) dataDir() string { return filepath.Join(c.Dir, "data") }
func (c Config) logFile() string { return filepath.Join(c.Dir, "postgres.log") }

// url is the connection URL of a database of the cluster on a port.
func (c Config) url(port int, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(c.User, c.Password),
		Host:     "127.0.0.1:" + strconv.Itoa(port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// serverArgs are the arguments of postgres. Later settings win, so the caller's come last.
func (c Config) serverArgs(port int) []string {
	args := []string{"-D", c.dataDir(), "-p", strconv.Itoa(port)}
	add := func(name, value string) { args = append(args, "-c", name+"="+value) }
	add("listen_addresses", "127.0.0.1")
	add("unix_socket_directories", "") // the path of a socket has a limit of some 100 bytes, Dir has not
	add("logging_collector", "off")    // the log is the file we open
	add(ownerSetting, defaultName)
	if !c.Durable {
		add("fsync", "off")
		add("synchronous_commit", "off")
		add("full_page_writes", "off")
	}
	for _, name := range sortedKeys(c.Settings) {
		add(name, c.Settings[name])
	}
	return args
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}

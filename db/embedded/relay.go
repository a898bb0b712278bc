package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// mostDownload bounds an archive; they have some 10 to 40 MB, and the library holds one in memory.
const mostDownload = 512 << 20

// relay is the repository the library talks to: a server on loopback that passes requests on
// to the real one. The library can neither be cancelled nor report progress, takes an archive
// without a checksum, and hides why a request went wrong; here all four are in our hands.
type relay struct {
	config   Config
	client   *http.Client
	listener net.Listener
	server   *http.Server
	served   sync.WaitGroup

	mu  sync.Mutex
	err error // the first failure
}

func newRelay(ctx context.Context, c Config) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the download: %w", err)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: time.Minute}
	r := &relay{config: c, client: &http.Client{Transport: transport}, listener: l}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }} // every request ends with the download
	r.served.Go(func() { _ = r.server.Serve(l) }) // ends when the server is closed
	return r, nil
}

func (r *relay) url() string { return "http://" + r.listener.Addr().String() }

// close ends the relay and says what went wrong on its far side.
func (r *relay) close() error {
	r.server.Close()
	r.served.Wait()
	r.client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections() // the library's connections to us
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// ServeHTTP passes a request on. A failure is kept for close; the library is given something
// it cannot take for a good answer.
func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if err := r.pass(req.Context(), w, req.URL.Path); err != nil {
		r.fail(err)
		panic(http.ErrAbortHandler) // breaks the connection: half an archive must not look whole
	}
}

func (r *relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *relay) pass(ctx context.Context, w http.ResponseWriter, path string) error {
	url := strings.TrimSuffix(r.config.Download.Repository, "/") + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", url, response.Status)
	}
	body := io.Reader(http.MaxBytesReader(nil, response.Body, mostDownload))
	if strings.HasSuffix(path, ".sha256") {
		return copyChecksum(w, body)
	}
	progress := &progressReader{from: body, to: r.config.Progress, total: response.ContentLength, next: progressStep}
	fmt.Fprintf(r.config.Progress, "no PostgreSQL found: downloading %s (%s)\n", url, megabytes(response.ContentLength))
	if response.ContentLength >= 0 { // else the library would not notice a short one
		w.Header().Set("Content-Length", fmt.Sprint(response.ContentLength))
	}
	if _, err := io.Copy(w, progress); err != nil {
		return errors.Join(fmt.Errorf("get %s: %w", url, err), context.Cause(ctx))
	}
	return nil
}

// copyChecksum trims what repositories put around a checksum; the library compares bytes.
func copyChecksum(w io.Writer, from io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(from, 1024))
	if err != nil {
		return err
	}
	sum, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	_, err = io.WriteString(w, strings.ToLower(sum))
	return err
}

// progressStep is how many bytes pass between two lines of progress.
const progressStep = 5 << 20

// progressReader tells how far a download is.
type progressReader struct {
	from              io.Reader
	to                io.Writer
	read, next, total int64
}

// Read reads on, and speaks when another step is done.
func (p *progressReader) Read(buffer []byte) (int, error) {
	n, err := p.from.Read(buffer)
	p.read += int64(n)
	if p.read >= p.next {
		fmt.Fprintf(p.to, "downloaded %s of %s\n", megabytes(p.read), megabytes(p.total))
		p.next = p.read + progressStep
	}
	return n, err
}

func megabytes(n int64) string {
	if n < 0 {
		return "unknown size"
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/notifier"
	"github.com/coder/websocket"
)

// eventStream behaves as the real Go client does: many goroutines register and
// deregister on one connection, each waits for as many events of the type
// websocket as it has written commands, and takes any of them for its own.
type eventStream struct {
	ws   *websocket.Conn
	acks chan struct{}
	done chan struct{} // closed when nothing more is read

	mu        sync.Mutex
	filters   map[string]int // how many receivers want it
	receivers map[*receiver]bool
}

type receiver struct {
	filter string
	events chan notifier.Event
}

func openStream(t *testing.T, s *system, token string) *eventStream {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), s.url+drpPath, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
	if err != nil {
		t.Fatal(err)
	}
	es := &eventStream{ws: ws, acks: make(chan struct{}, 100), done: make(chan struct{}), filters: map[string]int{}, receivers: map[*receiver]bool{}}
	go es.read() // ends with the connection
	t.Cleanup(func() {
		_ = ws.Close(websocket.StatusNormalClosure, "")
		<-es.done
	})
	return es
}

func (es *eventStream) read() {
	defer close(es.done)
	for {
		_, message, err := es.ws.Read(context.Background())
		if err != nil {
			return
		}
		var e notifier.Event
		if json.Unmarshal(message, &e) != nil {
			return
		}
		if e.Type == "websocket" {
			es.acks <- struct{}{}
		}
		es.mu.Lock()
		for r := range es.receivers {
			if plainlyMatches(r.filter, e) {
				select {
				case r.events <- e:
				default: // as the real one does
				}
			}
		}
		es.mu.Unlock()
	}
}

// plainlyMatches knows filters without lists and escapes.
func plainlyMatches(filter string, e notifier.Event) bool {
	for i, part := range strings.SplitN(filter, ".", 3) {
		if value := []string{e.Type, e.Action, e.Key}[i]; part != "*" && part != value {
			return false
		}
	}
	return true
}

// register blocks until the filter is acknowledged, if nobody had it.
func (es *eventStream) register(filter string) (*receiver, error) {
	es.mu.Lock()
	r := &receiver{filter, make(chan notifier.Event, 100)}
	es.receivers[r] = true
	es.filters[filter]++
	first := es.filters[filter] == 1
	var err error
	if first {
		err = es.ws.Write(context.Background(), websocket.MessageText, []byte("register "+filter))
	}
	es.mu.Unlock()
	if err != nil || !first {
		return r, err
	}
	return r, es.await(es.acks)
}

func (es *eventStream) deregister(r *receiver) error {
	es.mu.Lock()
	delete(es.receivers, r)
	es.filters[r.filter]--
	last := es.filters[r.filter] == 0
	var err error
	if last {
		err = es.ws.Write(context.Background(), websocket.MessageText, []byte("deregister "+r.filter))
	}
	es.mu.Unlock()
	if err != nil || !last {
		return err
	}
	return es.await(es.acks)
}

func (es *eventStream) await(acks chan struct{}) error {
	select {
	case <-acks:
		return nil
	case <-es.done:
		return errors.New("the connection has ended")
	case <-time.After(patience):
		return errors.New("no acknowledgement")
	}
}

// One connection is shared by many who come and go while events flow: nobody
// waits in vain, and no acknowledgement is left over.
func TestDRP_StreamSharedByMany(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	es := openStream(t, s, token(t, "alice", time.Hour, nil))
	const workers, rounds = 16, 25
	var working sync.WaitGroup
	for w := range workers {
		working.Go(func() { // ends when it has done its rounds
			for i := range rounds {
				if err := es.round(t, d, fmt.Sprintf("%d-%d", w, i)); err != nil {
					t.Errorf("worker %d, round %d: %v", w, i, err)
					return
				}
			}
		})
	}
	working.Wait()
	es.mu.Lock()
	if n := len(es.acks); n > 0 || len(es.receivers) > 0 {
		t.Errorf("%d acknowledgements left over", n)
	}
	es.mu.Unlock()
	last, err := es.register("last.*.*") // a late acknowledgement would come before this one's
	if err != nil {
		t.Fatal(err)
	}
	d.publish(t, notifier.Event{Type: "last", CreatedAt: time.Unix(0, 0)})
	<-last.events
	if n := len(es.acks); n > 0 {
		t.Errorf("%d acknowledgements too many", n)
	}
}

// round registers what others share and what nobody else has, and receives an
// event of the latter.
func (es *eventStream) round(t *testing.T, d *directory, key string) error {
	shared, err := es.register("machines.*.*")
	if err != nil {
		return err
	}
	own, err := es.register("machines.save." + key)
	if err != nil {
		return err
	}
	e, _ := machine("save", key)
	noise, _ := machine("noise", key)
	ack := notifier.Event{Type: "websocket", Action: "register", CreatedAt: e.CreatedAt}
	// The acknowledgement may have been another's, so the filter may not be active
	// the first time: the real client has that fault.
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(patience); ; {
		d.publish(t, noise, ack, e, ack, noise)
		select {
		case got := <-own.events:
			if got.Key != key {
				return fmt.Errorf("got %q", got.Key)
			}
			return errors.Join(es.deregister(own), es.deregister(shared))
		case <-again.C:
		case <-deadline:
			return errors.New("the event did not come")
		}
	}
}

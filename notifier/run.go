package notifier

// run is the events one frame carries: a chain from its last event back to its
// first. Subscribers whose runs are the same share the chain, and so the frame.
type run struct {
	event  *Event
	first  *Event
	before *run
	length int
	// next is the continuation that was asked for last. Events are matched one
	// after the other, so all subscribers that continue alike find it here.
	next   *run
	frames []encodedFrame
}

type encodedFrame struct {
	encoder Encoder
	frame   []byte
}

func newRun(e *Event) *run { return &run{event: e, first: e, length: 1} }

func (r *run) extend(e *Event) *run {
	if r.next == nil || r.next.event != e {
		r.next = &run{event: e, first: r.first, before: r, length: r.length + 1}
	}
	return r.next
}

// frame returns the run's bytes for an encoder, encoding them the first time.
func (r *run) frame(encoder Encoder) []byte {
	for _, f := range r.frames {
		if f.encoder == encoder {
			return f.frame
		}
	}
	events := make([]*Event, r.length)
	for n := r; n != nil; n = n.before {
		events[n.length-1] = n.event
	}
	frame := encoder.Encode(events)
	r.frames = append(r.frames, encodedFrame{encoder, frame})
	return frame
}

package notifier

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
)

// History tells one life of a log from every other: another cluster, a promoted
// standby, a database or table that was restored. Positions of one mean nothing
// in another.
type History [5]byte

// Anchor is, of the events that a position covers, one of the largest transaction
// id. As long as it is there, no transaction id the position covers is in use for
// another transaction. The zero Anchor is that of a log that never had an event.
type Anchor struct {
	ID   int64
	TxID uint64
	Mark [4]byte // tells it from another event that came to the same ids
}

// AnchorOf returns the anchor that an event is.
func AnchorOf(e *Event) Anchor {
	a := Anchor{ID: e.ID, TxID: e.TxID}
	text := make([]byte, 0, 96)
	text = append(strconv.AppendInt(text, e.ID, 10), ' ')
	text = append(strconv.AppendUint(text, e.TxID, 10), ' ')
	text = append(strconv.AppendInt(text, e.CreatedAt.UnixMicro(), 10), ' ')
	text = append(append(text, e.Type...), ' ')
	text = append(append(text, e.Action...), ' ')
	text = append(text, e.Key...)
	hash := sha256.Sum256(text)
	copy(a.Mark[:], hash[:])
	return a
}

// Cursor is what a client keeps in order to go on where it was: a point of a log.
type Cursor struct {
	History History
	Point   Point
	Anchor  Anchor
}

// ErrNoCursor says that a text is no cursor that we have signed.
var ErrNoCursor = errors.New("not a cursor of this server")

const (
	cursorVersion  = 1
	cursorInBatch  = 0x80 // flag: the point lies inside a batch
	cursorMAC      = 8    // bytes
	cursorMaxText  = 16 << 10
	cursorMaxTxIDs = 8 << 10
)

var cursorText = base64.RawURLEncoding.Strict()

// CursorSigner makes texts of cursors and cursors of texts. All instances with
// the same key understand each other. It is safe for use by several goroutines.
//
// The text is the base64url form of: a byte of version and flags; the history;
// the point's To; the anchor; inside a batch, its From, the id being the point's
// After; and the first bytes of the nested hash of all that with a key made of the
// server's. Numbers are unsigned varints. The database's notifier.position makes
// the same.
type CursorSigner struct{ key [sha256.Size]byte }

// NewCursorSigner returns a signer for the key that all instances share.
func NewCursorSigner(key []byte) *CursorSigner {
	const purpose = "notifier cursor" // the key is used for tokens, too
	return &CursorSigner{sha256.Sum256(append(append([]byte{}, key...), purpose...))}
}

// Append appends the text of a cursor.
func (s *CursorSigner) Append(dst []byte, c Cursor) []byte {
	inBatch := c.Point.After > 0
	raw := make([]byte, 0, 64)
	if inBatch {
		raw = append(raw, cursorVersion|cursorInBatch)
	} else {
		raw = append(raw, cursorVersion)
	}
	raw = append(raw, c.History[:]...)
	to := c.Point.To
	if !inBatch { // nothing of it was read: a batch that has just begun
		to = c.Point.From
	}
	raw = appendPosition(binary.AppendUvarint(raw, to.xmax), to)
	raw = binary.AppendUvarint(raw, uint64(c.Anchor.ID)) //nolint:gosec // ids are not negative
	if c.Anchor.ID != 0 {
		raw = binary.AppendUvarint(raw, to.xmax-c.Anchor.TxID)
		raw = append(raw, c.Anchor.Mark[:]...)
	}
	if inBatch {
		from := c.Point.From
		raw = appendPosition(binary.AppendUvarint(raw, to.xmax-from.xmax), from)
		raw = binary.AppendUvarint(raw, uint64(c.Point.After)) //nolint:gosec // see above
	}
	raw = append(raw, s.sign(raw)...)
	return cursorText.AppendEncode(dst, raw)
}

// appendPosition appends what a position has besides its xmax: the number of
// transactions in progress, and each by its distance from the next.
func appendPosition(dst []byte, p Position) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(p.inProgress)))
	next := p.xmax
	for i := len(p.inProgress) - 1; i >= 0; i-- {
		dst = binary.AppendUvarint(dst, next-p.inProgress[i])
		next = p.inProgress[i]
	}
	return dst
}

// sign is an HMAC but for the padding, which SQL can't make.
func (s *CursorSigner) sign(raw []byte) []byte {
	text := make([]byte, 0, 128)
	inner := sha256.Sum256(append(append(text, s.key[:]...), raw...))
	outer := sha256.Sum256(append(append(text[:0], s.key[:]...), inner[:]...))
	return outer[:cursorMAC]
}

// Text returns the text of a cursor.
func (s *CursorSigner) Text(c Cursor) string { return string(s.Append(nil, c)) }

// Parse returns the cursor of a text, or [ErrNoCursor].
func (s *CursorSigner) Parse(text string) (Cursor, error) {
	if len(text) > cursorMaxText {
		return Cursor{}, ErrNoCursor
	}
	raw, err := cursorText.DecodeString(text)
	if err != nil || len(raw) < cursorMAC+1 || cursorText.EncodeToString(raw) != text { // line breaks are skipped
		return Cursor{}, ErrNoCursor
	}
	raw, mac := raw[:len(raw)-cursorMAC], raw[len(raw)-cursorMAC:]
	if subtle.ConstantTimeCompare(s.sign(raw), mac) != 1 {
		return Cursor{}, ErrNoCursor
	}
	return parseCursor(raw)
}

// parseCursor reads what was signed; of a newer version it understands nothing.
func parseCursor(raw []byte) (c Cursor, err error) {
	r := cursorReader{rest: raw}
	kind := r.bytes(1)
	if r.bad || kind[0]&^cursorInBatch != cursorVersion {
		return Cursor{}, ErrNoCursor
	}
	copy(c.History[:], r.bytes(len(c.History)))
	c.Point.To = r.position(r.number())
	c.Point.From = c.Point.To
	c.Anchor.ID = r.id()
	if c.Anchor.ID != 0 {
		c.Anchor.TxID = r.below(c.Point.To.xmax)
		copy(c.Anchor.Mark[:], r.bytes(len(c.Anchor.Mark)))
	}
	if kind[0]&cursorInBatch != 0 {
		c.Point.From = r.position(r.below(c.Point.To.xmax))
		c.Point.After = r.id()
	}
	if r.bad || len(r.rest) > 0 {
		return Cursor{}, ErrNoCursor
	}
	return c, nil
}

// cursorReader takes what Append has put together apart.
type cursorReader struct {
	rest []byte
	bad  bool
}

func (r *cursorReader) bytes(n int) []byte {
	if r.bad || len(r.rest) < n {
		r.bad = true
		return make([]byte, n)
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *cursorReader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if r.bad || size <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *cursorReader) id() int64 {
	n := r.number()
	r.bad = r.bad || n > 1<<63-1
	return int64(n) //nolint:gosec // checked
}

// below returns the number that lies so far below another.
func (r *cursorReader) below(n uint64) uint64 {
	distance := r.number()
	if r.bad || distance > n {
		r.bad = true
		return 0
	}
	return n - distance
}

func (r *cursorReader) position(xmax uint64) Position {
	count := r.number()
	if r.bad || count > cursorMaxTxIDs || count > uint64(len(r.rest)) {
		r.bad = true
		return Position{}
	}
	p := Position{xmax: xmax}
	if count == 0 {
		return p
	}
	p.inProgress = make([]uint64, count)
	next := xmax
	for i := range p.inProgress {
		id := r.below(next)
		r.bad = r.bad || id == next || id == 0
		p.inProgress[len(p.inProgress)-1-i] = id
		next = id
	}
	return p
}

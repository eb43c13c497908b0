package local

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// State is the cursors of the streams that are delivered here, and what the
// sink keeps with them.
type State struct {
	Cursors []*Cursor `json:"cursors"`
	// Numbers stand for streams and sinks where something outlasts a cursor or
	// its name.
	Numbers []Number `json:"numbers,omitempty"`
	// Extra is the sink's own.
	Extra json.RawMessage `json:"extra,omitempty"`
}

// Cursor is one cursor, with the words of the cursor table of a database.
type Cursor struct {
	StreamID  string `json:"stream_id"`
	Stream    string `json:"stream"`
	Sink      string `json:"sink"`
	Seq       uint64 `json:"seq"`
	Chain     uint32 `json:"chain"`
	Epoch     uint64 `json:"epoch"`
	Instance  string `json:"instance"`
	UpdatedAt string `json:"updated_at"`
}

// Number stands for what a stream left in a sink.
type Number struct {
	StreamID string `json:"stream_id"`
	Sink     string `json:"sink"`
	Number   uint64 `json:"number"`
}

// Position returns where the cursor stands.
func (c *Cursor) Position() row.Position { return row.Position{Seq: c.Seq, Chain: c.Chain} }

// Plain returns the cursor as the contract has it.
func (c *Cursor) Plain() sink.Cursor {
	return sink.Cursor{Position: c.Position(), Epoch: c.Epoch, Instance: c.Instance}
}

// Set puts the cursor to a place.
func (c *Cursor) Set(to row.Position) {
	c.Seq, c.Chain, c.UpdatedAt = to.Seq, to.Chain, time.Now().UTC().Format(time.RFC3339Nano)
}

// Find returns the cursor of id, nil where there is none.
func (st *State) Find(id sink.ID) *Cursor {
	for _, c := range st.Cursors {
		if c.StreamID == id.StreamID && c.Sink == id.Sink {
			return c
		}
	}
	return nil
}

// Attach takes the cursor of id over, and makes one at start where there is
// none, unless sound, which may be nil, has something against it.
func (st *State) Attach(id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (*Cursor, error) {
	c := st.Find(id)
	fresh := c == nil
	if fresh {
		c = &Cursor{StreamID: id.StreamID, Sink: id.Sink}
		c.Set(start)
	}
	if sound != nil {
		if err := sound(c.Plain()); err != nil {
			return nil, err
		}
	}
	if fresh {
		st.Cursors = append(st.Cursors, c)
	}
	c.Stream, c.Instance = id.Stream, instance
	c.Epoch++
	c.Set(c.Position())
	return c, nil
}

// Check returns the cursor of id, which was attached to as held says.
func (st *State) Check(id sink.ID, held sink.Cursor) (*Cursor, error) {
	c := st.Find(id)
	if c == nil {
		return nil, sink.ErrNoCursor
	}
	if c.Epoch != held.Epoch || c.Instance != held.Instance {
		return nil, fmt.Errorf("%w: epoch %d, instance %q", sink.ErrFenced, c.Epoch, c.Instance)
	}
	return c, nil
}

// Retire removes the cursor of id, and reports whether there was one.
func (st *State) Retire(id sink.ID) bool {
	had := len(st.Cursors)
	st.Cursors = slices.DeleteFunc(st.Cursors, func(c *Cursor) bool {
		return c.StreamID == id.StreamID && c.Sink == id.Sink
	})
	return len(st.Cursors) < had
}

// Rename makes the cursor of id, with the numbers that stand for it, that of
// the sink called name.
func (st *State) Rename(id sink.ID, name string) error {
	c := st.Find(id)
	if c == nil {
		return sink.ErrNoCursor
	}
	if st.Find(sink.ID{StreamID: id.StreamID, Sink: name}) != nil {
		return fmt.Errorf("sink %q has a cursor of stream %q already", name, id.Stream)
	}
	c.Sink = name
	for i, n := range st.Numbers {
		if n.StreamID == id.StreamID && n.Sink == id.Sink {
			st.Numbers[i].Sink = name
		}
	}
	return nil
}

// Number returns the number that stands for id from now on. The caller writes
// the state before, or together with, what it numbers.
func (st *State) Number(id sink.ID) uint64 {
	next := uint64(1)
	for _, n := range st.Numbers {
		if n.StreamID == id.StreamID && n.Sink == id.Sink {
			return n.Number
		}
		next = max(next, n.Number+1)
	}
	st.Numbers = append(st.Numbers, Number{StreamID: id.StreamID, Sink: id.Sink, Number: next})
	return next
}

// IsOf reports whether number stands for id. Several do where a sink took the
// name of one that was retired.
func (st *State) IsOf(id sink.ID, number uint64) bool {
	return slices.Contains(st.Numbers, Number{StreamID: id.StreamID, Sink: id.Sink, Number: number})
}

package deliver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memStream is a journal in memory.
type memStream struct {
	id string

	mu     sync.Mutex
	grown  chan struct{}
	blocks []row.Block
	schema *row.Schema // of the rows that are added
	first  uint64      // oldest row kept
	broken map[uint64]error
}

func newMemStream() *memStream {
	return &memStream{id: "journal", schema: calls, grown: make(chan struct{}), first: 1, broken: map[uint64]error{}}
}

var calls = &row.Schema{Table: "calls", Columns: []row.Column{{Name: "n", Type: "bigint"}}}

// add appends a block of n rows; open says that its transaction goes on.
func (s *memStream) add(n int, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := row.Block{First: s.endLocked().Seq + 1, Open: open, Bytes: int64(n) * 100}
	goesOn := len(s.blocks) > 0 && s.blocks[len(s.blocks)-1].Open
	for i := range n {
		seq := b.First + uint64(i)
		b.Rows = append(b.Rows, row.Row{Seq: seq, Received: int64(seq) * 1e6, Schema: s.schema, Values: []row.Value{row.Text(fmt.Sprint(seq))}})
	}
	if open && !goesOn {
		b.Rows[0].Flags = row.TxBegin
	}
	if goesOn && !open {
		b.Rows[n-1].Flags = row.TxEnd
	}
	b.End = row.Position{Seq: b.First + uint64(n) - 1, Chain: s.endLocked().Chain*31 + uint32(n) + 7}
	s.blocks = append(s.blocks, b)
	close(s.grown)
	s.grown = make(chan struct{})
}

// change alters the block that holds seq.
func (s *memStream) change(seq uint64, f func(b *row.Block)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.blocks[s.indexLocked(seq)])
}

func (s *memStream) indexLocked(seq uint64) int {
	i, _ := slices.BinarySearchFunc(s.blocks, seq, func(b row.Block, seq uint64) int { return int(b.End.Seq) - int(seq) })
	return i
}

func (s *memStream) endLocked() row.Position {
	if len(s.blocks) == 0 {
		return row.Position{}
	}
	return s.blocks[len(s.blocks)-1].End
}

func (s *memStream) ID() string   { return s.id }
func (s *memStream) Name() string { return "main" }

// End is the end of the last complete transaction, as the contract has it.
func (s *memStream) End() row.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.blocks) - 1; i >= 0; i-- {
		if !s.blocks[i].Open {
			return s.blocks[i].End
		}
	}
	return row.Position{}
}

// Oldest is the end of the block in front of the oldest row.
func (s *memStream) Oldest() row.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == 1 {
		return row.Position{}
	}
	return s.blocks[s.indexLocked(s.first-1)].End
}

func (s *memStream) BytesAfter(seq uint64) int64 { return int64(s.End().Seq-seq) * 100 }

func (s *memStream) Check(pos row.Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pos == (row.Position{}) {
		return nil
	}
	if pos.Seq+1 < s.first {
		return ErrGone
	}
	if i := s.indexLocked(pos.Seq); i < len(s.blocks) && s.blocks[i].End == pos {
		return nil
	}
	return fmt.Errorf("%w: chain %d", ErrOtherJournal, pos.Chain)
}

func (s *memStream) Reader(from uint64) (Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from < s.first {
		return nil, fmt.Errorf("%w: from seq %d", ErrGone, from)
	}
	return &memReader{s: s, at: s.indexLocked(from)}, nil
}

// memReader spoils the rows of its last block at each call, to find out who
// keeps them.
type memReader struct {
	s    *memStream
	at   int
	last row.Block
}

func (r *memReader) TryNext() (*row.Block, error) {
	for i := range r.last.Rows {
		r.last.Rows[i] = row.Row{Seq: 1 << 60, Schema: calls}
	}
	r.last = row.Block{}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.at >= len(r.s.blocks) || !r.s.completeLocked(r.at) {
		return nil, nil
	}
	r.last = r.s.blocks[r.at]
	if err := r.s.broken[r.last.First]; err != nil {
		return nil, err
	}
	r.last.Rows = slices.Clone(r.last.Rows)
	r.at++
	return &r.last, nil
}

// completeLocked reports whether the transaction of block i has ended:
// readers see none before that.
func (s *memStream) completeLocked(i int) bool {
	for ; i < len(s.blocks); i++ {
		if !s.blocks[i].Open {
			return true
		}
	}
	return false
}

func (r *memReader) Next(ctx context.Context) (*row.Block, error) {
	for {
		r.s.mu.Lock()
		grown := r.s.grown
		r.s.mu.Unlock()
		if b, err := r.TryNext(); b != nil || err != nil {
			return b, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *memReader) Close() error { return nil }

// wantRows checks that the sink holds the rows 1 to last, once and in order,
// and that every commit ended where a transaction did.
func wantRows(t *testing.T, st *memStream, s *memSink, last uint64) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if uint64(len(s.rows)) != last {
		t.Fatalf("sink has %d rows, want %d", len(s.rows), last)
	}
	for i, seq := range s.rows {
		if seq != uint64(i+1) {
			t.Fatalf("row %d of the sink is seq %d", i+1, seq)
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, at := range s.commits {
		if b := st.blocks[st.indexLocked(at)]; b.End.Seq != at || b.Open {
			t.Fatalf("a commit ended at seq %d, inside a block or a transaction", at)
		}
	}
}

// waitFor waits until ok, in real or in fake time.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 20_000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("waited in vain for: %s", what)
}

// settle lets fake time pass, until every goroutine waits for something.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// started returns a Deliverer that runs until the test ends.
func started(t *testing.T, cfg Config) *Deliverer {
	t.Helper()
	cfg.Name = "default"
	if cfg.Instance == "" {
		cfg.Instance = "a"
	}
	d := New(cfg)
	d.Start()
	t.Cleanup(func() { d.Close() })
	return d
}

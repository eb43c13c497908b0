package sources

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stream is rows of which some are flagged, by their seqs.
type stream struct {
	end     uint64
	flagged []uint64
}

func (s *stream) find(_ string, after uint64) (bool, error) {
	for _, seq := range s.flagged {
		if seq > after {
			return true, nil
		}
	}
	return false, nil
}

// store is a commit of a transaction that moves a source, and of others.
func (s *stream) store() error {
	s.flagged = append(s.flagged, s.end+1)
	s.end += 3
	return nil
}

func (s *stream) after() uint64 { return s.end }

// steps moves two sources in turn, one position at a time, until each stands
// at last; it returns the first error.
func steps(b *Book, s *stream, last int) error {
	for {
		done := true
		for _, name := range []string{"a", "b"} {
			at, err := b.Position(name)
			if err != nil {
				return err
			}
			n := 0
			_, _ = fmt.Sscan(at, &n)
			if n >= last {
				continue
			}
			done = false
			if err := b.Move(Move{Source: name, From: at, To: fmt.Sprint(n + 1)}, "main", s.after, s.store); err != nil {
				return err
			}
		}
		if done {
			return b.Close()
		}
	}
}

// TestEveryCallFails fails every call to the disk in turn, with the power cut
// behind it: the rows that are stored are as many as the positions say.
func TestEveryCallFails(t *testing.T) {
	const last = 4
	failed := 0
	for n := 1; ; n++ {
		mem := disk.NewMem()
		faulty := disk.NewFaulty(mem)
		faulty.Fail(disk.Fault{Kind: disk.AnyCall, N: n, Err: io.ErrClosedPipe, Forever: n%2 == 0})
		s := &stream{}
		b, err := Open(faulty, s.find)
		if err == nil {
			err = steps(b, s, last)
		}
		if len(faulty.Failed()) == 0 {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		failed++
		for _, d := range []*disk.Mem{mem.Kill(), mem.Crash(uint64(n)), mem.Crash(uint64(n) + 1000)} {
			again := &stream{end: s.end, flagged: append([]uint64(nil), s.flagged...)}
			b, err := Open(d, again.find)
			if err != nil {
				t.Fatalf("call %d: open after it: %v", n, err)
			}
			sum := 0
			for _, name := range []string{"a", "b"} {
				at, err := b.Position(name)
				if err != nil {
					t.Fatalf("call %d: %v", n, err)
				}
				k := 0
				_, _ = fmt.Sscan(at, &k)
				sum += k
			}
			if sum != len(s.flagged) {
				t.Fatalf("call %d: %d moves are stored, the positions tell of %d", n, len(s.flagged), sum)
			}
			if err := steps(b, again, last); err != nil {
				t.Fatalf("call %d: go on after it: %v", n, err)
			}
			if len(again.flagged) != 2*last {
				t.Fatalf("call %d: %d moves are stored in the end, want %d", n, len(again.flagged), 2*last)
			}
		}
	}
	if failed < 20 {
		t.Errorf("only %d calls were made to fail", failed)
	}
}

// TestCommitFails holds that a commit that failed moves nothing, and that one
// of which nothing is known stops moves until the next Open finds out.
func TestCommitFails(t *testing.T) {
	for _, stored := range []bool{true, false} {
		mem, s := disk.NewMem(), &stream{}
		b, err := Open(mem, s.find)
		if err != nil {
			t.Fatal(err)
		}
		m := Move{Source: "a", To: "1"}
		if err := b.Move(m, "main", s.after, func() error { return fault.New(fault.DiskFull, "full") }); fault.Code(err) != fault.DiskFull {
			t.Fatal(err)
		}
		if err := b.Move(Move{Source: "b", To: "1"}, "main", s.after, s.store); err != nil {
			t.Fatal(err)
		}
		if err := b.Move(m, "main", s.after, func() error {
			if stored {
				_ = s.store()
			}
			return fault.New(fault.OutcomeUnknown, "who knows")
		}); fault.Code(err) != fault.OutcomeUnknown {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "c"} {
			if err := b.Move(Move{Source: name, To: "1"}, "main", s.after, s.store); fault.Code(err) != fault.OutcomeUnknown || fault.Of(err).Hint == "" {
				t.Errorf("a move after an unknown one: %v", err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err = Open(mem, s.find); err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{true: "1", false: ""}[stored]
		if at, err := b.Position("a"); err != nil || at != want {
			t.Errorf("stored %v: it stands at %q, %v", stored, at, err)
		}
	}
}

// TestRefuses holds what is no move, and that it changes nothing.
func TestRefuses(t *testing.T) {
	mem, s := disk.NewMem(), &stream{}
	b, err := Open(mem, s.find)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Move(Move{Source: "a", To: "1"}, "", nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m    Move
		code string
	}{
		{Move{Source: "a", From: "0", To: "2"}, fault.SerializationFailure},
		{Move{Source: "a", To: "2"}, fault.SerializationFailure},
		{Move{Source: "", To: "2"}, fault.InvalidParameterValue},
		{Move{Source: strings.Repeat("x", 513), To: "2"}, fault.InvalidParameterValue},
		{Move{Source: "a", From: "1", To: strings.Repeat("x", 1025)}, fault.InvalidParameterValue},
	} {
		if err := b.Move(c.m, "main", s.after, s.store); fault.Code(err) != c.code || fault.Of(err).Hint == "" {
			t.Errorf("%.20q from %q: %v", c.m.Source, c.m.From, err)
		}
	}
	if at, _ := b.Position("a"); at != "1" || len(s.flagged) > 0 {
		t.Errorf("it stands at %q, and %d moves were stored", at, len(s.flagged))
	}
}

// TestDamaged holds that a file that cannot be read, or a stream that cannot
// tell, stops moves and not the start.
func TestDamaged(t *testing.T) {
	s := &stream{}
	mem := disk.NewMem()
	if err := disk.Replace(mem, "", fileName, []byte("{}\ncrc32c 00000000\n")); err != nil {
		t.Fatal(err)
	}
	b, err := Open(mem, s.find)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Move(Move{Source: "a", To: "1"}, "main", s.after, s.store); fault.Code(err) != fault.DataCorrupted {
		t.Errorf("a damaged file: %v", err)
	}
	mem = disk.NewMem()
	if b, err = Open(mem, s.find); err != nil {
		t.Fatal(err)
	}
	_ = b.Move(Move{Source: "a", To: "1"}, "main", s.after, func() error { return fault.New(fault.OutcomeUnknown, "who knows") })
	if b, err = Open(mem, func(string, uint64) (bool, error) { return false, errors.New("rows are gone") }); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Position("a"); fault.Code(err) != fault.OutcomeUnknown || !strings.Contains(err.Error(), "rows are gone") {
		t.Errorf("a stream that cannot tell: %v", err)
	}
}

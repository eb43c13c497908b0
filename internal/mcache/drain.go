package mcache

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Store is where Drain takes records to. It keeps a position with them.
type Store interface {
	// Position returns where the cache was left; "" at the beginning.
	Position(ctx context.Context) (string, error)
	// Move stores rows, one JSON object per line, and moves the position with
	// them, in one step; without lines it moves the position alone. It must
	// return ErrElsewhere where the position is not from.
	Move(ctx context.Context, from, to string, lines []byte) error
}

// ErrElsewhere says that a position is not where it was thought to be.
var ErrElsewhere = errors.New("the position was moved by somebody else")

// Drained says what Drain did.
type Drained struct {
	Records int // stored by this run
	Repeats int // of them none is new: stored by a run that was interrupted, and acked now
	Files   int // that are left
}

// drainBytes is how many bytes of records are stored together: one commit each.
const drainBytes = 256 << 10

// maxTurns is how often in a row a position may turn out to be elsewhere, as
// happens when a request of a run that was killed arrives late.
const maxTurns = 10

// mark is a position: the batch that was stored last and may not be acked. The
// inode tells a file from another of the same number, made later.
type mark struct {
	File  uint32 `json:"file"`
	From  uint32 `json:"from"`
	To    uint32 `json:"to"`
	Inode uint64 `json:"inode"`
	Sum   string `json:"sum"`
	Count int    `json:"count"`
}

// Drain stores every record of the cache, each once, over any crash of this
// process, of the store, and of both: the position says which batch was stored
// last, so that it is acked and not stored when it is met again. progress is
// called after each batch; it may be nil.
func (q *Queue) Drain(ctx context.Context, s Store, progress func(Drained)) (d Drained, err error) {
	if progress == nil {
		progress = func(Drained) {}
	}
	q.keep = true
	for range maxTurns {
		before := d.Records
		err = q.drain(ctx, s, &d, progress)
		d.Files = q.Files()
		if !errors.Is(err, ErrElsewhere) {
			q.keep = err != nil
			return d, err
		}
		if d.Records > before {
			return d, fmt.Errorf("another run drains the cache at the same time: %w", err)
		}
	}
	return d, err
}

func (q *Queue) drain(ctx context.Context, s Store, d *Drained, progress func(Drained)) error {
	at, err := q.settle(ctx, s, d)
	if err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := q.Next(drainBytes)
		if errors.Is(err, io.EOF) {
			return q.Trim()
		}
		if err != nil {
			return err
		}
		if at, err = q.take(ctx, s, at, b); err != nil {
			return err
		}
		d.Records += len(b.Records)
		progress(*d)
	}
}

// take stores b, acks it, and removes its file where that was the last of it.
// It returns the new position.
func (q *Queue) take(ctx context.Context, s Store, at string, b *Batch) (string, error) {
	inode, _, err := q.dir.Stat(Name(b.File))
	if err != nil {
		return at, err
	}
	m, err := json.Marshal(mark{File: b.File, From: b.From, To: b.To, Inode: inode, Sum: b.Sum, Count: len(b.Records)})
	if err != nil {
		return at, err
	}
	to := string(m)
	if err := s.Move(ctx, at, to, lines(b.Records)); err != nil {
		return at, err
	}
	if err := q.Ack(b); err != nil {
		return to, err
	}
	if !q.read(b.File) {
		return to, nil
	}
	// The number of a file may be used again once it is gone, so the position
	// forgets it first.
	if err := s.Move(ctx, to, "", nil); err != nil {
		return to, err
	}
	return "", q.Trim()
}

// read reports whether a file was read to its end.
func (q *Queue) read(file uint32) bool {
	for i, n := range q.numbers {
		if n == file {
			return q.heads[i].BOF == q.heads[i].EOF
		}
	}
	return true
}

// settle acks what a run that was interrupted has stored, and returns the
// position.
func (q *Queue) settle(ctx context.Context, s Store, d *Drained) (string, error) {
	at, err := s.Position(ctx)
	if err != nil || at == "" {
		return at, err
	}
	var m mark
	if err := json.Unmarshal([]byte(at), &m); err != nil {
		return at, fmt.Errorf("position %q is none of a message cache: %w", at, err)
	}
	there, err := q.holds(m)
	if err != nil {
		return at, err
	}
	if there {
		if err := q.ack(m.File, m.To); err != nil {
			return at, err
		}
		d.Repeats += m.Count
	}
	if !q.read(m.File) {
		return at, nil
	}
	if err := s.Move(ctx, at, "", nil); err != nil {
		return at, err
	}
	return "", q.Trim()
}

// holds reports whether a batch that was stored is still in its file, and not
// acked, or not all of it.
func (q *Queue) holds(m mark) (bool, error) {
	for i, n := range q.numbers {
		h := q.heads[i]
		if n != m.File || h.BOF < m.From || h.BOF >= m.To || h.EOF < m.To {
			continue
		}
		inode, _, err := q.dir.Stat(Name(n))
		if err != nil || inode != m.Inode {
			return false, err
		}
		_, image, err := q.load(i)
		if err != nil {
			return false, err
		}
		return sum(image[m.From:m.To]) == m.Sum, nil
	}
	return false, nil
}

// sections are the parts of a message, by their keys, and how many fields each
// has besides the key. The names of the others are in no source that is public.
var sections = []struct {
	key    string
	fields int
}{{"hdr", 9}, {"org", 6}, {"int", 3}, {"tgt", 6}, {"src", 1}, {"evt", 1}, {"end", 0}}

// Columns are the columns of the fields, in their order: the key of each part,
// and the field's number in it.
var Columns = columns()

func columns() (all []string) {
	for _, s := range sections {
		for i := range s.fields + 1 {
			all = append(all, fmt.Sprintf("%s_%d", s.key, i))
		}
	}
	return all
}

// lines writes records as rows: flags, msg and the fields as they stand, each
// without the colon behind it. What is no text has its bytes in raw, in hex, and
// nothing else.
func lines(records []Record) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	for i := range records {
		r := &records[i]
		one := map[string]any{"flags": r.Flags}
		msg := bytes.TrimSuffix(r.Message, []byte{0})
		text := utf8.Valid(msg) && bytes.IndexByte(msg, 0) < 0
		values := r.fields()
		for i := range values { // an offset may cut a letter in two
			text = text && utf8.Valid(values[i])
		}
		if text {
			one["msg"] = string(msg)
			for i, c := range Columns {
				one[c] = string(values[i])
			}
		} else {
			one["raw"] = hex.EncodeToString(r.Message)
		}
		_ = e.Encode(one) // text and numbers into memory: nothing can go wrong
	}
	return out.Bytes()
}

// fields returns the fields without what ends them: a colon, or the NUL of the
// last one.
func (r *Record) fields() (all [Fields][]byte) {
	for i := range all {
		f := bytes.TrimSuffix(r.Field(i), []byte{0})
		all[i] = bytes.TrimSuffix(f, []byte{':'})
	}
	return all
}

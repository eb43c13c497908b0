package mcache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Batch is records of one file, in their order.
type Batch struct {
	File     uint32
	From, To uint32 // the bytes of the file that they take
	Sum      string // SHA-256 of those bytes, in hex
	Records  []Record

	ends []uint32
}

// Next returns the oldest records that were not acked, of one file and of about
// most bytes, at least one; io.EOF where there are none. Acking moves on; until
// then the same records come again.
func (q *Queue) Next(most int) (*Batch, error) {
	if q.err != nil {
		return nil, q.err
	}
	for i, h := range q.heads {
		if h.BOF == h.EOF {
			continue // read to its end, wherever it stands among the others
		}
		c, image, err := q.load(i)
		if err != nil {
			return nil, fmt.Errorf("message cache %q: %w", q.path, err)
		}
		n := 1
		for n < len(c.Ends) && int(c.Ends[n]-h.BOF) <= most {
			n++
		}
		b := &Batch{File: q.numbers[i], From: h.BOF, To: c.Ends[n-1], Records: c.Records[:n], ends: c.Ends[:n]}
		b.Sum = sum(image[b.From:b.To])
		return b, nil
	}
	return nil, io.EOF
}

// sum tells bytes from others.
func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// Ack notes, on disk, that b needs not be read again. Its file stays until Trim.
func (q *Queue) Ack(b *Batch) error { return q.ack(b.File, b.To) }

func (q *Queue) ack(file, to uint32) error {
	if q.err != nil {
		return q.err
	}
	for i, n := range q.numbers {
		if n != file {
			continue
		}
		h := q.heads[i]
		if to < h.BOF || to > h.EOF {
			return q.fail(fmt.Errorf("ack up to %d of file %q, whose bof is %d and eof %d", to, Name(file), h.BOF, h.EOF))
		}
		if err := q.moveBOF(file, h.Order, to); err != nil {
			return q.fail(fmt.Errorf("ack in file %q: %w", Name(file), err))
		}
		q.heads[i].BOF = to
		return nil
	}
	return q.fail(fmt.Errorf("ack in file %q, which is not there", Name(file)))
}

// moveBOF writes the word of the beginning alone, since writers write the other.
func (q *Queue) moveBOF(file uint32, order Order, to uint32) error {
	f, err := q.dir.OpenInPlace(Name(file))
	if err != nil {
		return err
	}
	err = f.WriteAt(order.bytes().AppendUint32(nil, to), 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Trim removes the oldest files as long as they were read to their end.
func (q *Queue) Trim() error {
	if q.err != nil {
		return q.err
	}
	removed := false
	for len(q.numbers) > 0 && q.heads[0].BOF == q.heads[0].EOF {
		if err := q.dir.Remove(Name(q.numbers[0])); err != nil {
			return q.fail(fmt.Errorf("remove file %q: %w", Name(q.numbers[0]), err))
		}
		if q.own == int64(q.numbers[0]) {
			q.own = -1
		}
		q.numbers, q.heads = q.numbers[1:], q.heads[1:]
		removed = true
	}
	if !removed {
		return nil
	}
	if err := q.dir.SyncDir("."); err != nil {
		return q.fail(fmt.Errorf("flush the directory: %w", err))
	}
	return nil
}

// Get returns the oldest record that it has not returned; io.EOF where there is
// none. What is not acked comes again after the next Open.
func (q *Queue) Get() (*Record, error) {
	if q.batch == nil || q.given == len(q.batch.Records) {
		if q.batch != nil {
			return nil, q.errUnacked()
		}
		b, err := q.Next(Limit)
		if err != nil {
			return nil, err
		}
		q.batch, q.given = b, 0
	}
	q.given++
	return &q.batch.Records[q.given-1], nil
}

// errUnacked is what Get returns behind the last record that was read into
// memory, while that is not acked: one file is there at a time.
func (q *Queue) errUnacked() error {
	for i := range q.numbers {
		n, h := q.numbers[i], q.heads[i]
		if n == q.batch.File && h.EOF > q.batch.To || n > q.batch.File && h.BOF < h.EOF {
			return ErrUnacked
		}
	}
	return io.EOF
}

// ErrUnacked says that the records returned so far must be acked before more
// are returned.
var ErrUnacked = errors.New("records of the next file come when those of this one are acked")

// Done acks every record that Get has returned, and removes files of which all
// was acked.
func (q *Queue) Done() error {
	if q.batch == nil || q.given == 0 {
		return nil
	}
	if err := q.ack(q.batch.File, q.batch.ends[q.given-1]); err != nil {
		return err
	}
	if q.given == len(q.batch.Records) {
		q.batch, q.given = nil, 0
	}
	return q.Trim()
}

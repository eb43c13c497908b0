package mcache

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
)

// Piece is what a put adds to one file: the bytes from From to To of it.
type Piece struct {
	File  uint32 `json:"file"`
	From  uint32 `json:"from"`
	To    uint32 `json:"to"`
	Fresh bool   `json:"fresh,omitempty"` // the file is made
}

// Len returns how many bytes it has.
func (p Piece) Len() int { return int(p.To - p.From) }

// Plan says where records go. It changes nothing.
type Plan struct {
	Pieces []Piece
}

// Plan begins where the next record goes: behind the last one, or in file 0
// where all was read. Files that were read to their end are removed first.
func (q *Queue) Plan() (*Plan, error) {
	if q.err != nil {
		return nil, q.err
	}
	if q.Drained() {
		if err := q.Trim(); err != nil {
			return nil, err
		}
	}
	n := len(q.numbers)
	if n == 0 {
		return &Plan{Pieces: []Piece{{File: 0, From: headerSize, To: headerSize, Fresh: true}}}, nil
	}
	last := Piece{File: q.numbers[n-1], From: q.heads[n-1].EOF, To: q.heads[n-1].EOF}
	p := &Plan{Pieces: []Piece{last}}
	ours, err := q.takes(n - 1)
	if err != nil {
		return nil, q.fail(err)
	}
	if ours {
		return p, nil
	}
	return p, p.turn()
}

// takes reports whether records can be added to a file as this program writes
// them: another may have written those that are there in another way. Where
// that cannot be told, they go into a new one.
func (q *Queue) takes(i int) (bool, error) {
	if q.own == int64(q.numbers[i]) {
		return true, nil
	}
	h := q.heads[i]
	if h.void || h.Order != q.o.Order || h.BOF == h.EOF && h.EOF > headerSize {
		return false, nil
	}
	c, _, err := q.load(i)
	if errors.As(err, new(*DamageError)) || err == nil && c.Reading != A {
		return false, nil
	}
	if err == nil {
		q.own = int64(q.numbers[i])
	}
	return err == nil, err
}

// turn goes on in the next file.
func (p *Plan) turn() error {
	last := p.Pieces[len(p.Pieces)-1].File
	if last == math.MaxUint32 {
		return errors.New("the numbers of its files are used up; drain it, so that they begin at 0 again")
	}
	p.Pieces = append(p.Pieces, Piece{File: last + 1, From: headerSize, To: headerSize, Fresh: true})
	return nil
}

// Add gives a record of size bytes its place.
func (p *Plan) Add(size int) error {
	last := &p.Pieces[len(p.Pieces)-1]
	if size > Limit-int(last.To) {
		if err := p.turn(); err != nil {
			return err
		}
		last = &p.Pieces[len(p.Pieces)-1]
	}
	last.To += uint32(size)
	return nil
}

// Put adds records, and returns when they are on disk. It takes them all or,
// where one is too large, none. After any other error those before the first
// that is missing are there.
func (q *Queue) Put(records ...*Record) error {
	p, err := q.Plan()
	if err != nil {
		return err
	}
	var data []byte
	for i, r := range records {
		had := len(data)
		if data, err = AppendRecord(data, q.o.Order, r); err != nil {
			return fmt.Errorf("put record %d: %w", i, err)
		}
		if err := p.Add(len(data) - had); err != nil {
			return err
		}
	}
	for _, one := range p.Pieces {
		if one.Len() == 0 {
			continue
		}
		if err := q.Write(one, data[:one.Len()]); err != nil {
			return err
		}
		data = data[one.Len():]
	}
	return nil
}

// Write puts the bytes of a piece in its place, on disk, and lets readers see
// them. It may be done again.
func (q *Queue) Write(p Piece, data []byte) error {
	if q.err != nil {
		return q.err
	}
	if len(data) != p.Len() {
		return q.fail(fmt.Errorf("%d bytes for a piece of %d", len(data), p.Len()))
	}
	n := len(q.numbers)
	there := n > 0 && q.numbers[n-1] == p.File
	if there {
		if err := q.extend(p, data); err != nil {
			return q.fail(fmt.Errorf("write to file %q: %w", Name(p.File), err))
		}
		q.heads[n-1].EOF = p.To
		return nil
	}
	if !p.Fresh {
		return q.fail(fmt.Errorf("write to file %q: %w", Name(p.File), fs.ErrNotExist))
	}
	if err := q.create(p, data); err != nil {
		return q.fail(fmt.Errorf("make file %q: %w", Name(p.File), err))
	}
	q.numbers = append(q.numbers, p.File)
	q.heads = append(q.heads, Header{Order: q.o.Order, BOF: headerSize, EOF: p.To})
	q.own = int64(p.File)
	return nil
}

// extend writes behind the end of a file, and moves the end when that is on
// disk. Only the word of the end is written, since readers write the other.
func (q *Queue) extend(p Piece, data []byte) error {
	f, err := q.dir.OpenInPlace(Name(p.File))
	if err != nil {
		return err
	}
	err = f.WriteAt(data, int64(p.From))
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.WriteAt(q.o.Order.bytes().AppendUint32(nil, p.To), 4)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// create makes a file that has its first records when it gets its name.
func (q *Queue) create(p Piece, data []byte) error {
	if err := q.dir.Remove(freshName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := q.dir.CreateInPlace(freshName, q.o.Mode)
	if err != nil {
		return err
	}
	image := AppendHeader(make([]byte, 0, headerSize+len(data)), Header{Order: q.o.Order, BOF: headerSize, EOF: p.To})
	err = f.WriteAt(append(image, data...), 0)
	if err == nil {
		err = f.Truncate(Limit) // which flushes
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := q.dir.Rename(freshName, Name(p.File)); err != nil {
		return err
	}
	return q.dir.SyncDir(".")
}

// splitPath returns the directory above path, and the name in it.
func splitPath(path string) (above, name string) {
	path = filepath.Clean(path)
	return filepath.Dir(path), filepath.Base(path)
}

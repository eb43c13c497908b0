package mcache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"holdfast/internal/mcache"
	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/local"
)

const (
	// staged is the file beside the cursor that has the records of a batch.
	staged = "staged"
	// maxBuffered is how many bytes of records are gathered before they are
	// written there.
	maxBuffered = 512 << 10
)

// writer stages the records of one batch, and plans where they go.
type writer struct {
	ctx     context.Context
	sink    *Sink
	rejects sink.Rejects
	state   *local.State
	number  uint64
	refused bool

	queue   *mcache.Queue // held until the batch is in the cache
	plan    *mcache.Plan
	file    *local.File
	buf     []byte
	keys    []string
	keyFile string
}

// all stages the rows of b; of a retry, those whose keys are not in seen.
func (w *writer) all(b sink.Batch, seen map[string]bool) error {
	for n := 0; b.Next(); n++ {
		if n%256 == 0 && w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		r := b.Row()
		key := strconv.FormatUint(r.Seq, 10)
		if seen[key] {
			continue
		}
		err := w.add(r)
		var bad *sink.RowError
		if errors.As(err, &bad) {
			w.refused = true
			err = w.rejects.Refuse(r, bad)
		} else if err == nil && seen != nil {
			seen[key] = true
			w.keys = append(w.keys, key)
		}
		if err != nil {
			return err
		}
	}
	return b.Err()
}

// add stages r, unless it is refused.
func (w *writer) add(r *row.Row) error {
	if judge := w.sink.judge; judge != nil {
		if err := judge(r); err != nil {
			return refuse(r, "23514", err)
		}
	}
	if strings.HasPrefix(r.Schema.Table, "holdfast_") {
		return refuse(r, "42602", errReserved)
	}
	return w.put(r)
}

func refuse(r *row.Row, code string, err error) error {
	return &sink.RowError{Seq: r.Seq, Table: r.Schema.Table, Code: code, Err: err}
}

// put stages r as a message.
func (w *writer) put(r *row.Row) error {
	m, err := w.sink.record(r)
	if errors.Is(err, mcache.ErrTooLarge) {
		return refuse(r, "54000", err)
	}
	if err != nil {
		return refuse(r, "22023", err)
	}
	if w.plan == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	had := len(w.buf)
	if w.buf, err = mcache.AppendRecord(w.buf, w.sink.order(), m); err != nil {
		return refuse(r, "22023", err)
	}
	if err := w.plan.Add(len(w.buf) - had); err != nil {
		return err
	}
	if len(w.buf) < maxBuffered {
		return nil
	}
	return w.flush()
}

// begin opens the cache, and the file for the batch.
func (w *writer) begin() (err error) {
	if w.queue, err = w.sink.queue(w.ctx); err != nil {
		return err
	}
	if w.plan, err = w.queue.Plan(); err != nil {
		return err
	}
	d := w.sink.dir
	if err := d.Remove(staged); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w.file, err = d.Create(staged, 0o600)
	return err
}

func (w *writer) flush() error {
	_, err := w.file.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// settle returns when the batch, and what was refused of it, is on disk. The
// cache is given up: finish takes it again, and nothing is in it yet.
func (w *writer) settle() error {
	if w.file != nil {
		err := w.flush()
		if err == nil {
			err = w.file.Sync()
		}
		if err == nil {
			err = w.sink.dir.SyncDir(".")
		}
		if err != nil {
			return fmt.Errorf("stage the batch: %w", err)
		}
	}
	if err := w.closeAll(); err != nil {
		return err
	}
	if w.refused {
		if err := w.rejects.Settle(w.ctx); err != nil {
			return err
		}
	}
	return w.ctx.Err()
}

func (w *writer) closeAll() (err error) {
	if w.file != nil {
		err = w.file.Close()
	}
	if w.queue != nil {
		err = errors.Join(err, w.queue.Close())
	}
	w.file, w.queue = nil, nil
	return err
}

func (w *writer) close() { _ = w.closeAll() } // after an error, or again

// pending is the batch as the state tells of it.
func (w *writer) pending() *pending {
	p := &pending{Keys: w.keys, File: w.keyFile, Number: w.number}
	if w.plan != nil {
		p.Pieces = w.plan.Pieces
	}
	return p
}

// finish brings the batch that b tells of into the cache, and then lets b forget
// it. It may be done again: pieces are written in their order and readers never
// remove the newest file, so that a file before the newest one is finished,
// read or not.
func (s *Sink) finish(ctx context.Context, b *book) error {
	p := b.extra.Pending
	if len(p.Pieces) > 0 {
		if err := s.putPieces(ctx, p.Pieces); err != nil {
			return err
		}
	}
	if len(p.Keys) > 0 {
		if err := s.store.AddKeys(p.File, p.Number, p.Keys); err != nil {
			return err
		}
	}
	b.extra.Pending = nil
	return s.write(b)
}

func (s *Sink) putPieces(ctx context.Context, pieces []mcache.Piece) (err error) {
	f, err := s.dir.Open(staged)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	q, err := s.queue(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	at := int64(0)
	for _, one := range pieces {
		if one.Len() == 0 {
			continue
		}
		data := make([]byte, one.Len()) // at most a file's size
		if _, err := f.ReadAt(data, at); err != nil {
			return fmt.Errorf("read the staged batch: %w", err)
		}
		at += int64(len(data))
		if err := s.putPiece(q, one, data); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sink) putPiece(q *mcache.Queue, one mcache.Piece, data []byte) error {
	newest, any := q.Newest()
	switch {
	case any && newest > one.File:
		return nil // it was brought in before
	case any && newest == one.File || one.Fresh:
		return q.Write(one, data)
	}
	s.opts.Log.Warn("another program removed the newest file of the cache; what was to follow goes into a new one", "file", mcache.Name(one.File), "path", s.path)
	p, err := q.Plan()
	if err != nil {
		return err
	}
	for rest := data; len(rest) > 0; {
		size := 4 + int(s.size(rest))
		if err := p.Add(size); err != nil {
			return err
		}
		rest = rest[size:]
	}
	for _, again := range p.Pieces {
		if err := q.Write(again, data[:again.Len()]); err != nil {
			return err
		}
		data = data[again.Len():]
	}
	return nil
}

// size reads the length of a staged record.
func (s *Sink) size(record []byte) uint32 {
	if s.opts.Big {
		return binary.BigEndian.Uint32(record)
	}
	return binary.LittleEndian.Uint32(record)
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/row"
)

// batchRows is how many rows a batch has.
const batchRows = 1000

// stream is a journal that is written to, as a stream of the product is, with
// segments of its largest size, which return to the pool once they are old.
type stream struct {
	j      *journal.Journal
	d      disk.FS
	schema *row.Schema
}

// openStream makes a journal. keep is how many segments of rows it keeps;
// negative: all.
func openStream(p *pair, at place, keep int64) (*stream, error) {
	d, err := disk.OpenReal(filepath.Join(at.dir, "stream"))
	if err != nil {
		return nil, err
	}
	p.onClose(d.Close)
	j, err := journal.Open(d, journal.Options{
		Name: "bench", SegmentSize: at.segment, Limits: journal.Limits{History: keep * at.segment, Wait: 30 * time.Second},
	})
	if err != nil {
		return nil, err
	}
	p.onClose(j.Close)
	return &stream{j: j, d: d, schema: j.Intern(benchTable, columns())}, nil
}

// keepSegments is how many segments the append cases keep: few, so that the
// bench takes little room and segments are soon used again.
const keepSegments = 2

// openAged makes a journal as it is in its daily work: what is written next
// goes into files that were segments before, not into new ones that must be
// filled with zeros beside the rows.
func openAged(ctx context.Context, p *pair, at place) (*stream, error) {
	s, err := openStream(p, at, keepSegments)
	if err != nil {
		return nil, err
	}
	var unused histogram
	n := (keepSegments + 2) * at.segment / int64(len(record()))
	_, err = s.appendRows(ctx, 2, batchRows, true)(int(n), &unused)
	return s, err
}

// appendRows lets count writers append batches of size rows each, encoding
// included.
func (s *stream) appendRows(ctx context.Context, count, size int, durable bool) side {
	return func(n int, took *histogram) (float64, error) {
		return float64(n), waiters(count, n, took, func(_, share int, took *histogram) error {
			vs := values()
			var b row.Batch
			return inBatches(share, size, took, func(rows int) error {
				if err := fill(&b, s.schema, vs, rows); err != nil {
					return err
				}
				_, err := s.j.Append(ctx, &b, durable)
				return err
			})
		})
	}
}

// againstGroup says what group is.
const againstGroup = "stripped group commit: mutex, block, one flush, the same wake-ups; no format, no checksum"

// appendCases are those of the journal alone, without a door.
func appendCases() []comparison {
	cases := []comparison{{
		name: "append/1", unit: "rows/s", goal: .9, step: 16,
		against: "write and flush alone: one page, direct, on blocks written before",
		open: func(ctx context.Context, at place) (*pair, error) {
			return appendPair(ctx, at, func(s *stream, r *ring, p *pair) {
				p.product, p.baseline = s.appendRows(ctx, 1, 1, true), flushEach(r, record())
			})
		},
	}}
	for _, count := range []int{16, 64, 256} {
		cases = append(cases, comparison{
			name: fmt.Sprintf("append/%d", count), unit: "rows/s", goal: .9, step: 16 * count,
			against: againstGroup,
			open: func(ctx context.Context, at place) (*pair, error) {
				return appendPair(ctx, at, func(s *stream, r *ring, p *pair) {
					g := newGroup(p, r, count*len(record()))
					p.product, p.baseline = s.appendRows(ctx, count, 1, true), flushGroup(g, count, record())
				})
			},
		})
	}
	// The first has one writer, as the baseline has. With the second, one
	// writer encodes while the other waits for its flush, which is what the
	// product is made for, and what a plain loop cannot do.
	for _, count := range []int{1, 2} {
		name := "append/batch1000"
		if count > 1 {
			name += fmt.Sprintf("/%d", count)
		}
		cases = append(cases, comparison{
			name: name, unit: "rows/s", goal: 1, step: count * batchRows,
			against: "one loop that encodes the same bytes, then writes and flushes them",
			open: func(ctx context.Context, at place) (*pair, error) {
				return appendPair(ctx, at, func(s *stream, r *ring, p *pair) {
					p.product = s.appendRows(ctx, count, batchRows, true)
					p.baseline = flushBatches(r, s.schema, values(), batchRows)
				})
			},
		})
	}
	return append(cases, comparison{
		name: "append-off/batch1000", unit: "rows/s", goal: .8, step: batchRows,
		against: "256 KiB buffer with a CRC per row, written to the page cache, never flushed",
		open: func(ctx context.Context, at place) (*pair, error) {
			return offPair(ctx, at, func(s *stream, f *plainFile, p *pair) {
				p.product, p.baseline = s.appendRows(ctx, 1, batchRows, false), bufferRows(f, values(), batchRows)
			})
		},
	}, comparison{
		name: "append-off/row", unit: "rows/s", goal: 2, step: 100,
		against: "one write(2) per row with a CRC, to the page cache, never flushed",
		open: func(ctx context.Context, at place) (*pair, error) {
			return offPair(ctx, at, func(s *stream, f *plainFile, p *pair) {
				p.product, p.baseline = s.appendRows(ctx, 1, 1, false), writeRows(f, values())
			})
		},
	}, comparison{
		name: "read-back", unit: "MB/s", goal: .8, step: 20 * batchRows,
		against: "direct reads of 1 MiB of the same segments, one after the other; nothing is looked at",
		open:    readPair,
	})
}

// appendPair opens a stream and a ring, and lets sides say what is done to them.
func appendPair(ctx context.Context, at place, sides func(*stream, *ring, *pair)) (*pair, error) {
	p := &pair{}
	s, err := openAged(ctx, p, at)
	var r *ring
	if err == nil {
		r, err = newRing(p, at)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	sides(s, r, p)
	return p, nil
}

func offPair(ctx context.Context, at place, sides func(*stream, *plainFile, *pair)) (*pair, error) {
	p := &pair{}
	s, err := openAged(ctx, p, at)
	var f *plainFile
	if err == nil {
		f, err = newPlainFile(p, at)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	sides(s, f, p)
	return p, nil
}

// readPair reads what stands in a stream: the product every row, with all of
// its checksums, the baseline only bytes.
func readPair(ctx context.Context, at place) (*pair, error) {
	p := &pair{}
	s, err := openStream(p, at, -1)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.prepare = func(n int) error {
		// The journal has its last blocks in memory. More rows than that stand
		// behind those that are read, so that all of them come from the disk.
		const behind = 40 * batchRows
		if missing := n + behind - int(s.j.End().Seq); missing > 0 {
			var unused histogram
			if _, err := s.appendRows(ctx, 2, batchRows, true)(missing, &unused); err != nil {
				return err
			}
		}
		return s.j.Seal(ctx)
	}
	p.product = func(n int, took *histogram) (float64, error) { return s.readRows(ctx, n, took) }
	p.baseline = func(n int, took *histogram) (float64, error) { return s.readBytes(n*len(record()), took) }
	return p, nil
}

// megabyte is a million bytes, as disks are sold.
const megabyte = 1e6

// readRows reads the blocks that hold the first n rows.
func (s *stream) readRows(ctx context.Context, n int, took *histogram) (megabytes float64, err error) {
	r, err := s.j.Reader(1)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for end := uint64(0); end < uint64(n); {
		start := time.Now()
		b, err := r.Next(ctx)
		if err != nil {
			return 0, err
		}
		if len(b.Damage) > 0 {
			return 0, fmt.Errorf("read back: %s", b.Damage[0].What)
		}
		took.add(time.Since(start))
		end = b.End.Seq
		megabytes += float64(b.Bytes) / megabyte
	}
	return megabytes, nil
}

// readBytes reads the first n bytes of the stream's segments.
func (s *stream) readBytes(n int, took *histogram) (megabytes float64, err error) {
	entries, err := s.d.List("")
	if err != nil {
		return 0, err
	}
	buf := disk.Buffer(1 << 20)
	read := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name, ".seg") || read >= n {
			continue
		}
		f, err := s.d.Open(e.Name, false)
		if err != nil {
			return 0, err
		}
		for at := int64(0); at < e.Size && read < n && err == nil; at += int64(len(buf)) {
			start := time.Now()
			var got int
			got, err = f.ReadAt(buf, at)
			read += got
			took.add(time.Since(start))
		}
		if err == io.EOF {
			err = nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
	}
	return float64(read) / megabyte, nil
}

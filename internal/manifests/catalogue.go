package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"holdfast/internal/disk"
)

const (
	partSuffix   = ".manifests" // <stream>.<number, 6 digits>.manifests: one manifest per line
	packedSuffix = ".zst"       // behind it: a part that is full, and packed
	partSize     = 8 << 20      // bytes, about 16,000 manifests
	maxParts     = 999_999
)

// Catalogue keeps the manifests of one stream's segments that are gone: lines
// in a file that grows, and is packed when it is full. A line is durable when
// Add returns. Its methods are safe for concurrent use.
type Catalogue struct {
	d      disk.FS // not for direct input and output: lines are not blocks
	stream string

	mu    sync.Mutex
	part  int   // the one that grows, from 1
	size  int64 // of it
	known map[string]bool
}

// OpenCatalogue opens a stream's catalogue in a directory, which several
// streams may share.
func OpenCatalogue(d disk.FS, stream string) (*Catalogue, error) {
	c := &Catalogue{d: d, stream: stream, part: 1, known: map[string]bool{}}
	parts, err := c.parts()
	if err != nil {
		return nil, err
	}
	if n := len(parts); n > 0 {
		c.part = parts[n-1].number
		if parts[n-1].packed {
			c.part++
		} else {
			c.size = parts[n-1].size
		}
	}
	// A crash may have come after a line and before the segment's manifest was
	// taken away, which is added once more then.
	err = c.read(part{number: c.part}, func(m *Manifest) error { c.known[key(m)] = true; return nil })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the manifests kept of stream %q: %w", stream, err)
	}
	return c, nil
}

// part is one file.
type part struct {
	number int
	packed bool
	size   int64
}

func (c *Catalogue) name(p part) string {
	n := fmt.Sprintf("%s.%06d%s", c.stream, p.number, partSuffix)
	if p.packed {
		n += packedSuffix
	}
	return n
}

// parts lists the files, oldest first. Where one is there in both forms, its
// packing was not finished, or not tidied up; the plain one counts.
func (c *Catalogue) parts() (all []part, err error) {
	entries, err := c.d.List("")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name, c.stream+".")
		digits, packed := strings.CutSuffix(rest, partSuffix+packedSuffix)
		if !packed {
			digits, ok = strings.CutSuffix(rest, partSuffix)
		}
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || len(digits) != 6 || n < 1 {
			continue
		}
		if k := len(all); packed && k > 0 && all[k-1].number == n {
			continue
		}
		all = append(all, part{n, packed, e.Size})
	}
	return all, nil
}

func key(m *Manifest) string { return m.StreamID + "/" + strconv.FormatUint(m.Number, 10) }

// Add keeps manifests, durably. Those that are kept already are left out.
func (c *Catalogue) Add(all []Manifest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text []byte
	var keys []string
	for i := range all {
		if k := key(&all[i]); !c.known[k] {
			line, err := all[i].Encode()
			if err != nil {
				return err
			}
			text, keys = append(text, line...), append(keys, k)
		}
	}
	if len(text) == 0 {
		return nil
	}
	if err := c.appendLines(text); err != nil {
		if !disk.IsFull(err) && c.part < maxParts { // a file whose flush went wrong is not written again
			c.part, c.size = c.part+1, 0
		}
		return fmt.Errorf("keep manifests of stream %q: %w", c.stream, err)
	}
	for _, k := range keys {
		c.known[k] = true
	}
	if c.size < partSize || c.part >= maxParts {
		return nil
	}
	if err := c.pack(); err != nil {
		return fmt.Errorf("pack manifests of stream %q: %w", c.stream, err)
	}
	return nil
}

// appendLines writes at the end of the part that grows. A line that an earlier
// run did not finish is ended first.
func (c *Catalogue) appendLines(text []byte) (err error) {
	name := c.name(part{number: c.part})
	f, err := c.d.Open(name, true)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		f, err = c.d.Create(name)
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if size > 0 && err == nil {
		last := make([]byte, 1)
		if _, err = f.ReadAt(last, size-1); err == nil && last[0] != '\n' {
			text = append([]byte{'\n'}, text...)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err == nil {
		err = f.WriteAt(text, size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil && made {
		err = c.d.SyncDir("")
	}
	if err == nil {
		c.size = size + int64(len(text))
	}
	return err
}

// pack compresses the part that is full, and begins the next one.
func (c *Catalogue) pack() error {
	plain := part{number: c.part}
	text, err := disk.ReadFile(c.d, c.name(plain), 4*partSize)
	if err != nil {
		return err
	}
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if err := disk.Replace(c.d, "", c.name(part{number: c.part, packed: true}), w.EncodeAll(text, nil)); err != nil {
		return err
	}
	if err := c.d.Remove(c.name(plain)); err != nil {
		return err
	}
	c.part, c.size, c.known = c.part+1, 0, map[string]bool{}
	return c.d.SyncDir("")
}

// Each calls do for each manifest that is kept, oldest first, one at a time in
// memory. Lines that cannot be read are left out and counted.
func (c *Catalogue) Each(do func(*Manifest) error) (damaged int, err error) {
	c.mu.Lock()
	parts, err := c.parts()
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	for _, p := range parts {
		err := c.readCounting(p, &damaged, do)
		if errors.Is(err, fs.ErrNotExist) && !p.packed { // packed meanwhile
			p.packed = true
			err = c.readCounting(p, &damaged, do)
		}
		if err != nil {
			return damaged, err
		}
	}
	return damaged, nil
}

func (c *Catalogue) read(p part, do func(*Manifest) error) error {
	damaged := 0
	return c.readCounting(p, &damaged, do)
}

// readCounting reads one part line by line.
func (c *Catalogue) readCounting(p part, damaged *int, do func(*Manifest) error) error {
	f, err := c.d.Open(c.name(p), false)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	var in io.Reader = io.NewSectionReader(f, 0, size)
	if p.packed {
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(4*partSize))
		if err != nil {
			return err
		}
		defer z.Close()
		in = z
	}
	lines := bufio.NewReaderSize(in, MaxSize)
	for {
		line, err := lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s: %w", c.name(p), err)
		}
		if ended := errors.Is(err, io.EOF); long || len(bytes.TrimSpace(line)) > 0 {
			m, bad := Decode(line)
			if bad != nil || long {
				*damaged++
			} else if err := do(&m); err != nil {
				return err
			}
			if ended {
				return nil
			}
		} else if ended {
			return nil
		}
	}
}

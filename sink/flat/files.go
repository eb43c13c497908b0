package flat

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"holdfast/sink"
	"holdfast/sink/local"
)

// maxOpen bounds the descriptors; a pattern with the time in it has ever new
// files.
const maxOpen = 200

// handle is an open file.
type handle struct {
	file *local.File
	used uint64
}

// due reports whether the file is to be rotated before a row of p.received.
func (w *writer) due(p *pending, e *entry) bool {
	o := &w.sink.opts
	if p.own || e.Size == 0 {
		return false
	}
	every := o.RotateEvery.Microseconds()
	return o.RotateSize > 0 && e.Size >= o.RotateSize || every > 0 && p.received/every > e.Began/every
}

// rename gives the file that e records a name with the time in it.
func (s *Sink) rename(name string, e *entry) error {
	if err := s.closeFile(name); err != nil {
		return err
	}
	ino, _, err := s.dir.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && ino != e.Inode {
		return nil // somebody else did it
	}
	if err != nil {
		return err
	}
	base := name + "." + time.Now().UTC().Format("20060102T150405Z")
	to := base
	for k := 2; ; k++ {
		_, _, err := s.dir.Stat(to)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err == nil && k > 999 {
			err = fmt.Errorf("there are too many files called %q", base)
		}
		if err != nil {
			return err
		}
		to = base + "-" + strconv.Itoa(k)
	}
	if err := s.dir.Rename(name, to); err != nil {
		return err
	}
	s.opts.Log.Info("flat file rotated", "file", name, "now", to, "size", e.Size)
	return s.dir.SyncDir(path.Dir(name))
}

// handle returns the file, opened or made where it is not open.
func (w *writer) handle(p *pending) (*handle, error) {
	s := w.sink
	w.clock++
	if h := s.open[p.name]; h != nil {
		h.used = w.clock
		return h, nil
	}
	if err := w.makeRoom(); err != nil {
		return nil, err
	}
	f, err := s.dir.Open(p.name)
	if errors.Is(err, fs.ErrNotExist) && p.entry == nil {
		f, err = s.create(p.name)
	}
	if err != nil {
		return nil, err
	}
	h := &handle{file: f, used: w.clock}
	s.open[p.name] = h
	return h, nil
}

func (s *Sink) create(name string) (*local.File, error) {
	in, mode := path.Dir(name), s.opts.Mode
	if strings.HasPrefix(name, ownDir+"/") {
		mode = 0o600
	} else if err := s.dir.MakeDirs(in, s.opts.DirMode); err != nil {
		return nil, err
	}
	f, err := s.dir.Create(name, mode)
	if err != nil {
		return nil, err
	}
	if err := s.dir.SyncDir(in); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// makeRoom closes the file that was not used for the longest time, where as
// many are open as may be.
func (w *writer) makeRoom() error {
	s := w.sink
	if len(s.open) < maxOpen {
		return nil
	}
	var oldest string
	for name, h := range s.open {
		if oldest == "" || h.used < s.open[oldest].used {
			oldest = name
		}
	}
	if p := w.files[oldest]; p != nil && p.written > 0 {
		if err := w.sync(p); err != nil {
			return err
		}
	}
	return s.closeFile(oldest)
}

func (s *Sink) closeFile(name string) error {
	h := s.open[name]
	if h == nil {
		return nil
	}
	delete(s.open, name)
	return h.file.Close()
}

// keys returns the keys that a file of Holdfast's own has for id.
func (s *Sink) keys(b *book, name string, id sink.ID) (map[string]bool, error) {
	f, err := s.dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]bool{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return local.Keys(io.NewSectionReader(f, 0, size), b.state, id)
}

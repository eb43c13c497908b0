// Package mcache is the sink that fills a message cache of OpenXDAS for the
// programs that read one, exactly once.
//
// A batch is first put beside the cursor as a whole. Replacing the cursor's file
// is the commit; only then the records are written to the cache and its ends
// moved, and whoever comes after a crash brings that to its end. docs/mcache.md
// tells readers what they may count on, and what they must leave alone.
package mcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"holdfast/internal/mcache"
	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/local"
)

var _ sink.Sink = (*Sink)(nil)

// Options say how the cache is written. Only Dir must be set.
type Options struct {
	// Dir is where the cursor is kept, made where it is missing. It must be this
	// sink's alone, and is not in the cache, which is empty when all was read.
	Dir string
	// Big says that files are big-endian.
	Big bool
	// Table is the one whose rows are messages as they are: columns msg and
	// flags. If empty, xdas.
	Table string
	// Mode is that of new files. If zero, 0644, as the original has it.
	Mode fs.FileMode
	// Busy is how long to wait for another process at the cache. If zero, 2 s.
	Busy time.Duration
	// Log is told what readers did to the cache. If nil, nobody is.
	Log *slog.Logger
}

// Sink fills one cache. Several streams share it, one batch at a time.
type Sink struct {
	path    string
	opts    Options
	watch   local.Watch
	cursors local.Keeper[*book]
	judge   func(*row.Row) error // where a test sets it: refuses rows, as a database does

	turn   chan struct{} // holds one token: whoever has it uses what stands below
	dir    *local.Dir    // of the cursor
	store  *local.Store
	closed bool

	closing sync.Once
}

// Open returns the sink for a cache's directory, given by its path or as
// mcache:PATH. The directory must be there: it is never made, since an empty
// mount point looks just like a missing one.
func Open(url string, opts Options) (*Sink, error) { return openWatched(url, opts, local.Watch{}) }

func openWatched(url string, opts Options, w local.Watch) (*Sink, error) {
	path := strings.TrimPrefix(url, "mcache:")
	if path == "" {
		return nil, fmt.Errorf("open message cache %q: a directory is needed, as in mcache:/var/lib/xdasd/cache", url)
	}
	if opts.Dir == "" {
		return nil, fmt.Errorf("open message cache %q: a directory for the cursor is needed", path)
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("open message cache %q: it is no directory; make it, writable for the user that Holdfast runs as", path)
	}
	if opts.Mode&^0o777 != 0 || opts.Mode != 0 && opts.Mode&0o600 != 0o600 {
		return nil, fmt.Errorf("open message cache %q: mode %#o of files does not let their owner read and write", path, uint32(opts.Mode))
	}
	if opts.Table == "" {
		opts.Table = "xdas"
	}
	if opts.Busy <= 0 {
		opts.Busy = 2 * time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open message cache %q: make a directory for the cursor: %w", path, err)
	}
	d, err := local.OpenDir(opts.Dir, w)
	if err != nil {
		return nil, fmt.Errorf("open message cache %q: open directory of the cursor: %w", path, err)
	}
	s := &Sink{path: path, opts: opts, watch: w, turn: make(chan struct{}, 1), dir: d, store: local.NewStore(d, ".")}
	s.turn <- struct{}{}
	s.cursors = local.Keeper[*book]{Name: fmt.Sprintf("message cache %q", path), Use: s.use, State: func(b *book) *local.State { return b.state }, Write: s.write}
	return s, nil
}

// Close ends all sessions, waiting for an Apply that is under way. Where readers
// have read everything, no file is left in the cache. Idempotent.
func (s *Sink) Close() (closed error) {
	s.closing.Do(func() {
		err := s.use(context.Background(), func(*book) error {
			q, err := s.queue(context.Background())
			if err == nil {
				err = q.Close()
			}
			return err
		})
		if err != nil {
			s.opts.Log.Info("message cache could not be tidied at the end", "error", err)
		}
		<-s.turn
		s.closed = true
		s.turn <- struct{}{}
		closed = s.dir.Close()
	})
	return closed
}

// book is the state with what this sink keeps in it.
type book struct {
	state *local.State
	extra extra
}

// extra is what the state tells besides cursors.
type extra struct {
	Pending *pending `json:"pending,omitempty"`
}

// pending is a batch that is committed, and may not be in the cache yet.
type pending struct {
	Pieces []mcache.Piece `json:"pieces"`
	Keys   []string       `json:"keys,omitempty"` // to be noted with it
	File   string         `json:"file,omitempty"` // where to
	Number uint64         `json:"number,omitempty"`
}

// use waits for its turn and for the lock, and calls f with the state. A batch
// that is committed is brought into the cache first.
func (s *Sink) use(ctx context.Context, f func(b *book) error) (err error) {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	if s.closed {
		return errors.New("sink is closed")
	}
	l, err := s.store.Lock(ctx, s.opts.Busy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Unlock()) }()
	st, err := s.store.Load()
	if err != nil {
		return err
	}
	b := &book{state: st}
	if st.Extra != nil {
		if err := json.Unmarshal(st.Extra, &b.extra); err != nil {
			return fmt.Errorf("read state: %w", err)
		}
	}
	if b.extra.Pending != nil {
		if err := s.finish(ctx, b); err != nil {
			return fmt.Errorf("bring a committed batch into the cache: %w", err)
		}
	}
	return f(b)
}

// write puts b on disk, in place of what was there.
func (s *Sink) write(b *book) (err error) {
	if b.state.Extra, err = json.Marshal(b.extra); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return s.store.Replace(b.state)
}

// Attach takes the cursor of id over.
func (s *Sink) Attach(ctx context.Context, id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (sink.Session, error) {
	held, err := s.cursors.Attach(ctx, local.Claim{ID: id, Instance: instance, Start: start, Sound: sound}, nil)
	if err != nil {
		return nil, err
	}
	return &session{held, s}, nil
}

// Retire removes the cursor of id.
func (s *Sink) Retire(ctx context.Context, id sink.ID) error { return s.cursors.Retire(ctx, id, nil) }

// Rename makes what belongs to id that of the sink called name.
func (s *Sink) Rename(ctx context.Context, id sink.ID, name string) error {
	return s.cursors.Rename(ctx, id, name, nil)
}

// pollCache is how often a cache that another process holds is tried.
const pollCache = 10 * time.Millisecond

// queue opens the cache, waiting for readers that hold it.
func (s *Sink) queue(ctx context.Context) (*mcache.Queue, error) {
	ends := time.Now().Add(s.opts.Busy)
	for {
		q, err := mcache.Open(s.path, mcache.Options{Order: s.order(), Mode: s.opts.Mode, Watch: s.watch})
		if !errors.Is(err, mcache.ErrHeld) || time.Now().After(ends) {
			return q, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pollCache):
		}
	}
}

func (s *Sink) order() mcache.Order {
	if s.opts.Big {
		return mcache.Big
	}
	return mcache.Little
}

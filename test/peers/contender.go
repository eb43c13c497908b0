package main

import (
	"runtime"
	"sync"
)

// recordSize is how many bytes each record has, for everybody.
const recordSize = 200

// work is what a turn consists of: so many writers, each of which stores so
// many records and does not go on before they are durable.
type work struct {
	name    string
	writers int
	batch   int
}

// works are all that are measured.
var works = []work{
	{"1 writer", 1, 1},
	{"16 writers", 16, 1},
	{"64 writers", 64, 1},
	{"256 writers", 256, 1},
	{"1 writer, batches of 1,000", 1, 1000},
	{"2 writers, batches of 1,000", 2, 1000},
}

// appender stores records and returns once they are durable, as far as its
// contender can tell. One goroutine uses it.
type appender func(records [][]byte) error

// session is one contender's files, open.
type session struct {
	// writer returns what one goroutine appends with. It is called before the time.
	writer func() appender
	// held closes the files, opens them again, reads what is in them and returns
	// how many of the records that were appended are there. It ends the session.
	held func() (int, error)
}

// contender is one line of the tables.
type contender struct {
	name    string
	mode    string // how it is used
	product bool   // it is Holdfast
	durable bool   // it returns after the flush
	stays   bool   // it is open over the whole run, as it is in its daily work
	note    string
	skip    func(w work) bool // where the mode means nothing; nil: nowhere
	open    func(dir string, w work) (*session, error)
}

// id is how a contender is named on the command line.
func (c contender) id() string { return c.name + ", " + c.mode }

// The modes of the peers.
const (
	asItComes = "as it comes"
	inFront   = "group commit in front"
)

// peer is a log that others made, open.
type peer interface {
	// put stores one record with the call that its users have for a durable
	// one. Any number of goroutines call it.
	put(record []byte) error
	// putAll stores records and flushes them together, as well as the peer can.
	// Any number of goroutines call it.
	putAll(records [][]byte) error
	// held closes the peer, opens it again and counts its records.
	held() (int, error)
}

// asTheyCome makes a contender of a peer, used as its users use it.
func asTheyCome(name, note string, open func(dir string, w work) (peer, error)) contender {
	return contender{name: name, mode: asItComes, durable: true, note: note, open: func(dir string, w work) (*session, error) {
		p, err := open(dir, w)
		if err != nil {
			return nil, err
		}
		return &session{held: p.held, writer: func() appender {
			return func(records [][]byte) error {
				if len(records) == 1 {
					return p.put(records[0])
				}
				return p.putAll(records)
			}
		}}, nil
	}}
}

// behindFront makes a contender of a peer that stands behind our group commit.
func behindFront(name, note string, open func(dir string, w work) (peer, error)) contender {
	return contender{
		name: name, mode: inFront, durable: true, note: note,
		skip: func(w work) bool { return w.writers == 1 && w.batch > 1 }, // there is nobody to share a flush with
		open: func(dir string, w work) (*session, error) {
			p, err := open(dir, w)
			if err != nil {
				return nil, err
			}
			f := newFront(p.putAll)
			return &session{held: p.held, writer: func() appender { return f.add }}, nil
		},
	}
}

// front is the group commit that is put in front of a peer, and the one of the
// bare file: whoever comes first into a group leads it. While the leader waits
// for the flush before it, and then lets others run once, the group fills.
type front struct {
	flush func(records [][]byte) error

	turn sync.Mutex // held by the leader whose group is being flushed
	mu   sync.Mutex
	open *crowd
	free [][]byte // memory of a group that was flushed
}

// crowd is a group.
type crowd struct {
	records [][]byte
	flushed chan struct{} // closed when err is set
	err     error
}

func newFront(flush func([][]byte) error) *front {
	return &front{flush: flush, open: &crowd{flushed: make(chan struct{})}}
}

// add stores records and returns once they are flushed.
func (f *front) add(records [][]byte) error {
	f.mu.Lock()
	c := f.open
	leads := len(c.records) == 0
	c.records = append(c.records, records...)
	f.mu.Unlock()
	if !leads {
		<-c.flushed
		return c.err
	}
	f.turn.Lock()
	runtime.Gosched()
	f.mu.Lock()
	f.open = &crowd{records: f.free[:0], flushed: make(chan struct{})}
	f.free = nil
	f.mu.Unlock()
	c.err = f.flush(c.records)
	f.mu.Lock()
	f.free = c.records
	f.mu.Unlock()
	f.turn.Unlock()
	close(c.flushed)
	return c.err
}

package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nsqio/go-diskqueue"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
	rosedb "github.com/rosedblabs/wal"
	tidwall "github.com/tidwall/wal"
	etcd "go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// tidwallLog is github.com/tidwall/wal with its default options, which flush
// after each write. Its users number the records, hence the lock.
type tidwallLog struct {
	dir   string
	mu    sync.Mutex
	log   *tidwall.Log
	last  uint64
	batch tidwall.Batch
}

func openTidwall(dir string, _ work) (peer, error) {
	l, err := tidwall.Open(dir, nil)
	return &tidwallLog{dir: dir, log: l}, err
}

func (t *tidwallLog) put(record []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	return t.log.Write(t.last, record)
}

func (t *tidwallLog) putAll(records [][]byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range records {
		t.last++
		t.batch.Write(t.last, r)
	}
	return t.log.WriteBatch(&t.batch)
}

func (t *tidwallLog) held() (n int, err error) {
	if err := t.log.Close(); err != nil {
		return 0, err
	}
	l, err := tidwall.Open(t.dir, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	last, err := l.LastIndex()
	if err != nil {
		return 0, err
	}
	for i := uint64(1); i <= last; i++ {
		r, err := l.Read(i)
		if err != nil {
			return n, err
		}
		if len(r) == recordSize {
			n++
		}
	}
	return n, nil
}

// rosedbLog is github.com/rosedblabs/wal with Sync set. Its WriteAll does not
// flush, not even with Sync set, hence the call behind it.
type rosedbLog struct {
	o   rosedb.Options
	mu  sync.Mutex // one batch at a time: what is pending belongs to whoever calls WriteAll
	log *rosedb.WAL
}

func openRosedb(dir string, _ work) (peer, error) {
	o := rosedb.DefaultOptions
	o.DirPath, o.Sync = dir, true
	l, err := rosedb.Open(o)
	return &rosedbLog{o: o, log: l}, err
}

func (l *rosedbLog) put(record []byte) error {
	_, err := l.log.Write(record)
	return err
}

func (l *rosedbLog) putAll(records [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		l.log.PendingWrites(r)
	}
	if _, err := l.log.WriteAll(); err != nil {
		return err
	}
	return l.log.Sync()
}

func (l *rosedbLog) held() (n int, err error) {
	if err := l.log.Close(); err != nil {
		return 0, err
	}
	again, err := rosedb.Open(l.o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, again.Close()) }()
	r := again.NewReader()
	for ; ; n++ {
		if _, _, err := r.Next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// prometheusLog is Prometheus' wlog, uncompressed, with its own segment size.
// Prometheus itself never flushes a record; Sync is for those who want to. It
// must not run beside Log, which may change the segment, hence the lock.
type prometheusLog struct {
	dir string
	mu  sync.Mutex
	log *wlog.WL
}

func openPrometheus(dir string, _ work) (peer, error) {
	l, err := wlog.New(slog.New(slog.DiscardHandler), nil, dir, compression.None)
	return &prometheusLog{dir: dir, log: l}, err
}

func (l *prometheusLog) put(record []byte) error { return l.putAll([][]byte{record}) }

func (l *prometheusLog) putAll(records [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.log.Log(records...); err != nil {
		return err
	}
	return l.log.Sync()
}

func (l *prometheusLog) held() (n int, err error) {
	if err := l.log.Close(); err != nil {
		return 0, err
	}
	segments, err := wlog.NewSegmentsReader(l.dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, segments.Close()) }()
	r := wlog.NewReader(segments)
	for r.Next() {
		n++
	}
	return n, r.Err()
}

// etcdLog is etcd's wal: each Save is one append of raft entries, whose
// indexes follow one another, hence the lock.
type etcdLog struct {
	dir     string
	mu      sync.Mutex
	log     *etcd.WAL
	last    uint64
	entries []*raftpb.Entry
}

func openEtcd(dir string, _ work) (peer, error) {
	dir = filepath.Join(dir, "wal")
	l, err := etcd.Create(zap.NewNop(), dir, nil)
	return &etcdLog{dir: dir, log: l}, err
}

func (l *etcdLog) put(record []byte) error { return l.putAll([][]byte{record}) }

func (l *etcdLog) putAll(records [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.entries) < len(records) {
		l.entries = append(l.entries, &raftpb.Entry{Term: new(uint64(1)), Index: new(uint64)})
	}
	for i, r := range records {
		l.last++
		*l.entries[i].Index, l.entries[i].Data = l.last, r
	}
	return l.log.Save(&raftpb.HardState{}, l.entries[:len(records)])
}

func (l *etcdLog) held() (n int, err error) {
	if err := l.log.Close(); err != nil {
		return 0, err
	}
	again, err := etcd.OpenForRead(zap.NewNop(), l.dir, &walpb.Snapshot{Index: new(uint64), Term: new(uint64)})
	if err != nil {
		return 0, err
	}
	_, _, entries, err := again.ReadAll()
	if cerr := again.Close(); !errors.Is(cerr, os.ErrInvalid) { // it closes a directory that OpenForRead did not open
		err = errors.Join(err, cerr)
	}
	return len(entries), err
}

// diskQueue is nsqio's go-diskqueue, told to flush after each record, or after
// each batch. Its Put returns before that flush.
type diskQueue struct {
	open func() diskqueue.Interface
	q    diskqueue.Interface
}

func openDiskQueue(dir string, w work) (peer, error) {
	d := &diskQueue{open: func() diskqueue.Interface {
		return diskqueue.New("peers", dir, 100<<20, 1, 1<<20, int64(w.batch), 2*time.Second, func(diskqueue.LogLevel, string, ...any) {})
	}}
	d.q = d.open()
	return d, nil
}

func (d *diskQueue) put(record []byte) error { return d.q.Put(record) }

func (d *diskQueue) putAll(records [][]byte) error {
	for _, r := range records {
		if err := d.q.Put(r); err != nil {
			return err
		}
	}
	return nil
}

func (d *diskQueue) held() (int, error) {
	if err := d.q.Close(); err != nil {
		return 0, err
	}
	again := d.open()
	n := again.Depth()
	return int(n), again.Close()
}

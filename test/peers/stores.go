package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.etcd.io/bbolt"
)

// pebbleStore is Pebble with its default options: an LSM tree, whose log has a
// group commit of its own. The keys are numbers that grow.
type pebbleStore struct {
	dir  string
	db   *pebble.DB
	last atomic.Uint64
}

func pebbleOptions() *pebble.Options { return &pebble.Options{Logger: silent{}} }

// silent is a Logger for Pebble.
type silent struct{}

func (silent) Infof(string, ...any)           {}
func (silent) Errorf(string, ...any)          {}
func (silent) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func openPebble(dir string, _ work) (peer, error) {
	db, err := pebble.Open(dir, pebbleOptions())
	return &pebbleStore{dir: dir, db: db}, err
}

func (p *pebbleStore) put(record []byte) error {
	var key [8]byte
	binary.BigEndian.PutUint64(key[:], p.last.Add(1))
	return p.db.Set(key[:], record, pebble.Sync)
}

func (p *pebbleStore) putAll(records [][]byte) error {
	b := p.db.NewBatch()
	var key [8]byte
	n := p.last.Add(uint64(len(records))) - uint64(len(records))
	for _, r := range records {
		n++
		binary.BigEndian.PutUint64(key[:], n)
		if err := b.Set(key[:], r, nil); err != nil {
			return err
		}
	}
	return errors.Join(b.Commit(pebble.Sync), b.Close())
}

func (p *pebbleStore) held() (n int, err error) {
	if err := p.db.Close(); err != nil {
		return 0, err
	}
	db, err := pebble.Open(p.dir, pebbleOptions())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	it, err := db.NewIter(nil)
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n, it.Close()
}

// bboltStore is bbolt with its default options: a B+ tree in one file, which
// flushes twice per transaction. For many writers it has Batch, which waits up
// to 10 ms for others; that is better than Update from 64 writers on.
type bboltStore struct {
	file string
	db   *bbolt.DB
	one  func(func(*bbolt.Tx) error) error
}

var bucket = []byte("records")

func openBbolt(dir string, w work) (peer, error) {
	file := filepath.Join(dir, "bolt.db")
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		return nil, err
	}
	b := &bboltStore{file: file, db: db, one: db.Update}
	if w.writers >= 64 {
		b.one = db.Batch
	}
	return b, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucket)
		return err
	})
}

func insert(tx *bbolt.Tx, records ...[]byte) error {
	b := tx.Bucket(bucket)
	b.FillPercent = 1 // the keys grow
	for _, r := range records {
		n, err := b.NextSequence()
		if err != nil {
			return err
		}
		if err := b.Put(binary.BigEndian.AppendUint64(nil, n), r); err != nil {
			return err
		}
	}
	return nil
}

func (b *bboltStore) put(record []byte) error {
	return b.one(func(tx *bbolt.Tx) error { return insert(tx, record) })
}

func (b *bboltStore) putAll(records [][]byte) error {
	return b.db.Update(func(tx *bbolt.Tx) error { return insert(tx, records...) })
}

func (b *bboltStore) held() (n int, err error) {
	if err := b.db.Close(); err != nil {
		return 0, err
	}
	db, err := bbolt.Open(b.file, 0o600, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return n, db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(_, _ []byte) error {
			n++
			return nil
		})
	})
}

// jetStream is a NATS server inside the process, with JetStream and
// "sync_interval: always", spoken to without a network. It flushes once per
// message, whoever publishes and however many.
type jetStream struct {
	dir    string
	server *server.Server
	nc     *nats.Conn
	js     nats.JetStreamContext
}

const subject = "records"

func openJetStream(dir string, _ work) (peer, error) {
	j := &jetStream{dir: dir}
	if err := j.start(); err != nil {
		return nil, err
	}
	_, err := j.js.AddStream(&nats.StreamConfig{Name: subject, Subjects: []string{subject}, Storage: nats.FileStorage})
	return j, err
}

func (j *jetStream) start() (err error) {
	j.server, err = server.NewServer(&server.Options{
		JetStream: true, StoreDir: j.dir, SyncAlways: true, DontListen: true, NoLog: true, NoSigs: true,
		JetStreamMaxStore: 64 << 30, JetStreamMaxMemory: 1 << 30,
	})
	if err != nil {
		return err
	}
	j.server.Start()
	if !j.server.ReadyForConnections(10 * time.Second) {
		return errors.New("the NATS server does not become ready")
	}
	if j.nc, err = nats.Connect("", nats.InProcessServer(j.server)); err != nil {
		return err
	}
	j.js, err = j.nc.JetStream(nats.PublishAsyncMaxPending(4096), nats.MaxWait(30*time.Second))
	return err
}

func (j *jetStream) stop() {
	j.nc.Close()
	j.server.Shutdown()
	j.server.WaitForShutdown()
}

func (j *jetStream) put(record []byte) error {
	_, err := j.js.Publish(subject, record)
	return err
}

func (j *jetStream) putAll(records [][]byte) error {
	futures := make([]nats.PubAckFuture, len(records))
	for i, r := range records {
		var err error
		if futures[i], err = j.js.PublishAsync(subject, r); err != nil {
			return err
		}
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		}
	}
	return nil
}

func (j *jetStream) held() (int, error) {
	j.stop()
	if err := j.start(); err != nil {
		return 0, err
	}
	defer j.stop()
	info, err := j.js.StreamInfo(subject)
	if err != nil {
		return 0, err
	}
	return int(info.State.Msgs), nil
}

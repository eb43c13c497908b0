package main

// The names of our own contenders.
const (
	nameBare    = "bare file"
	nameJournal = "Holdfast journal"
	nameLibrary = "Holdfast library"
)

// contenders returns all of them, the bare file first, Holdfast next.
func contenders() []contender {
	all := []contender{
		{name: nameBare, mode: "O_DIRECT, O_DSYNC, recycled; group commit", durable: true, stays: true, open: openBare},
		{name: nameJournal, mode: asItComes, product: true, durable: true, stays: true, open: openJournal,
			note: "records of one column, without the library above it"},
		{name: nameLibrary, mode: asItComes, product: true, durable: true, stays: true, open: openLibrary,
			note: "rows of ten columns, a transaction each"},
	}
	for _, p := range []struct {
		name, note string
		open       func(dir string, w work) (peer, error)
	}{
		{"tidwall/wal", "no checksum", openTidwall},
		{"rosedblabs/wal", "WriteAll does not flush in spite of Sync: true; a Sync follows it here", openRosedb},
		{"prometheus wlog", "Log, then Sync", openPrometheus},
		{"etcd wal", "Save of raft entries", openEtcd},
		{"pebble", "Set with Sync; has a group commit of its own", openPebble},
		{"bbolt", "Update; Batch from 64 writers on", openBbolt},
		{"NATS JetStream", "sync_interval: always; in the process, without a network; flushes per message", openJetStream},
	} {
		all = append(all, asTheyCome(p.name, p.note, p.open), behindFront(p.name, p.note, p.open))
	}
	queue := asTheyCome("nsqio/go-diskqueue", "NOT durable: Put returns before its flush, and nothing tells when that is done", openDiskQueue)
	queue.durable = false
	return append(all, queue)
}

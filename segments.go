package holdfast

import "time"

// SegmentStatus is one segment of a stream.
type SegmentStatus struct {
	Stream   string
	Number   uint64
	FirstSeq uint64 // of its first row, whether it has one or not
	Rows     uint64 // durable ones
	Bytes    int64  // of its file
	Oldest   time.Time
	Newest   time.Time // receipt of its first and last row; zero where it has none
	State    string    // "active", "closed" (it is being sealed), "sealed" or "poisoned" (a flush went wrong)
}

// Segments returns each stream's newest segments, at most that many of each,
// by stream and number. It reads no file.
func (db *DB) Segments(most int) (out []SegmentStatus) {
	for _, s := range db.streams {
		for _, i := range s.journal.Segments(most) {
			one := SegmentStatus{Stream: s.Name, Number: i.Number, FirstSeq: i.First, Rows: i.Rows, Bytes: i.Bytes, State: i.State}
			if i.Rows > 0 && i.FirstTime > 0 {
				one.Oldest, one.Newest = time.UnixMicro(i.FirstTime), time.UnixMicro(i.LastTime)
			}
			out = append(out, one)
		}
	}
	return out
}

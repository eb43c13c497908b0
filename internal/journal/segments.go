package journal

// SegmentInfo is one segment, as the journal knows it without reading it.
type SegmentInfo struct {
	Number    uint64
	First     uint64 // seq of its first row, whether it has one or not
	Rows      uint64 // durable ones
	Bytes     int64  // of its file
	FirstTime int64  // receipt of its first row, Unix microseconds; 0: it has none
	LastTime  int64
	State     string // "active", "closed" (it is being sealed), "sealed", or "poisoned" (a flush went wrong)
}

// Segments returns the newest segments, at most that many, the oldest first.
func (j *Journal) Segments(most int) []SegmentInfo {
	j.mu.Lock()
	defer j.mu.Unlock()
	segs := j.segs[max(0, len(j.segs)-most):]
	out := make([]SegmentInfo, len(segs))
	for i, s := range segs {
		out[i] = SegmentInfo{Number: s.number, First: s.first, Rows: s.rows, Bytes: s.size, FirstTime: s.firstTime, LastTime: s.lastTime}
		switch {
		case s.poisoned:
			out[i].State = "poisoned"
		case s.sealed:
			out[i].State = "sealed"
		case i == len(segs)-1:
			out[i].State = "active"
		default:
			out[i].State = "closed"
		}
	}
	return out
}

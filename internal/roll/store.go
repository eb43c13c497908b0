package roll

import (
	"fmt"
	"math"
)

// Tier is where a segment is.
type Tier string

// The tiers that are read. What is in the cold tier is not the planner's any
// more.
const (
	Hot  Tier = "hot"
	Warm Tier = "warm"
	Cold Tier = "cold"
)

// Link says what the link range of a store's segments counts.
type Link string

// ByTime links streams by the time of receipt; the range is in Unix
// microseconds. Any other link that is not empty is the name of a column with a
// rising id. A stream without a link is tied to its own index alone, by seq.
const ByTime Link = "time"

// Manifest is what the planner knows of a segment or an index slice.
type Manifest struct {
	Number    uint64
	Bytes     int64 // that it takes on its volume
	Tier      Tier
	FirstSeq  uint64
	LastSeq   uint64 // 0: no row; a slice has those of the segments that it refers to
	FirstTime int64  // of receipt, Unix microseconds; 0 without rows
	LastTime  int64
	FileTime  int64 // the file's own time, Unix microseconds
	FirstLink int64 // the lowest and the highest link; only where Linked
	LastLink  int64
	Linked    bool // false: no row of it has a value in the link column
	Sealed    bool // it is written to no more, and its footer stands
	Held      bool // a hold keeps it
	// Volume is the one that it is on; empty: the first of its tier's.
	Volume string
}

// Need is what a sink still needs of a stream.
type Need struct {
	Sink string
	Seq  uint64 // the first that it has not committed
	// Link is the lowest link from Seq on, where it is known (the sparse index
	// knows it by block). Without it the whole segment of Seq counts as needed.
	Link  int64
	Known bool
}

// Keep is what of a store is never rolled, the newest segments first. Zero
// fields ask nothing.
type Keep struct {
	Files int
	Bytes int64
	Since int64 // segments with a row received at this time or later, Unix microseconds
}

// Store is one FIFO of files that roll: the segments of a stream, or the slices
// of its index. The index of a stream is its child.
type Store struct {
	Stream  string
	IsIndex bool
	Parent  string // the stream whose rows these rows belong to; empty for a root
	Link    Link
	// Watermark is the cut of earlier rolls: what links below it is gone.
	Watermark  int64
	HasMark    bool // there was an earlier roll
	HotVolume  string
	MoreHot    []string // further volumes of the hot tier, where it has several directories
	WarmVolume string   // empty: there is no warm tier
	Cold       bool     // there is a cold tier
	DropOldest bool     // on_full: drop_oldest
	Keep       Keep
	Needs      []Need
	Files      []Manifest // oldest first
}

// Name returns what the store is called where people read it.
func (s *Store) Name() string {
	if s.IsIndex {
		return "index of " + s.Stream
	}
	return s.Stream
}

// Volume is a volume that tiers are on. Several directories on one device are
// one volume.
type Volume struct {
	Name  string
	Total int64
	Free  int64
}

// State is all that a plan rests on.
type State struct {
	Stores  []Store
	Volumes []Volume
}

// Limits bound what a state may hold.
const (
	maxStores  = 1 << 16
	maxTotal   = 1 << 61
	nothing    = math.MinInt64 // the key of what has no link and nothing before it
	everything = math.MaxInt64 // no floor
)

// check refuses a state from which no plan may be made: one made of wrong
// manifests would remove the wrong files.
func (st *State) check() error {
	if len(st.Stores) > maxStores {
		return wrong("a plan over %d stores was asked for", len(st.Stores)).WithHint("up to %d are planned together", maxStores)
	}
	volumes := map[string]bool{}
	for _, v := range st.Volumes {
		if volumes[v.Name] || v.Total < 0 || v.Total > maxTotal || v.Free < 0 || v.Free > maxTotal {
			return wrong("volume %q is given twice, or has %d bytes of which %d are free", v.Name, v.Total, v.Free).WithHint("ask the volume again")
		}
		volumes[v.Name] = true
	}
	type key struct {
		stream string
		index  bool
	}
	byName, total := map[key]*Store{}, int64(0)
	for i := range st.Stores {
		s := &st.Stores[i]
		k := key{s.Stream, s.IsIndex}
		if byName[k] != nil {
			return wrong("store %q is given twice", s.Name()).WithHint("give each stream and each index once")
		}
		byName[k] = s
	}
	for i := range st.Stores {
		s := &st.Stores[i]
		if s.IsIndex && byName[key{s.Stream, false}] == nil {
			return wrong("%s has no stream", s.Name()).WithHint("give the stream that it is the index of")
		}
		if s.IsIndex && byName[key{s.Stream, false}].Link != s.Link {
			return wrong("stream %q and its index are not tied by the same link", s.Stream).WithHint("give both the same link")
		}
		if err := s.checkFiles(&total); err != nil {
			return err
		}
		steps := 0
		for at := s; at.Parent != "" && !at.IsIndex; steps++ {
			parent := byName[key{at.Parent, false}]
			if parent == nil {
				return wrong("stream %q has the unknown parent %q", at.Stream, at.Parent).WithHint("name a stream")
			}
			if at.Link == "" || parent.Link != at.Link {
				return wrong("stream %q and its parent %q are not tied by the same link", at.Stream, at.Parent).WithHint("give both the same link")
			}
			if steps > len(st.Stores) {
				return wrong("stream %q is its own ancestor", s.Stream).WithHint("give one of them no parent")
			}
			at = parent
		}
	}
	return nil
}

// hotVolumes returns the volumes of the store's hot tier.
func (s *Store) hotVolumes() []string { return append([]string{s.HotVolume}, s.MoreHot...) }

// checkFiles refuses manifests that contradict each other, and adds their bytes
// to total.
func (s *Store) checkFiles(total *int64) error {
	for i := range s.Files {
		f := &s.Files[i]
		bad := ""
		switch {
		case f.Bytes < 0 || f.Bytes > maxSize || *total > maxTotal:
			bad = fmt.Sprintf("%d bytes", f.Bytes)
		case f.Tier != Hot && f.Tier != Warm:
			bad = fmt.Sprintf("tier %q", f.Tier)
		case f.Linked && f.FirstLink > f.LastLink:
			bad = fmt.Sprintf("links from %d to %d", f.FirstLink, f.LastLink)
		case f.LastSeq != 0 && f.FirstSeq > f.LastSeq:
			bad = fmt.Sprintf("seqs from %d to %d", f.FirstSeq, f.LastSeq)
		case i > 0 && f.Number <= s.Files[i-1].Number:
			bad = fmt.Sprintf("number %d before it", s.Files[i-1].Number)
		case i > 0 && f.FirstSeq != 0 && f.FirstSeq <= s.Files[i-1].LastSeq:
			bad = fmt.Sprintf("first seq %d, and %d stands before it", f.FirstSeq, s.Files[i-1].LastSeq)
		}
		*total += f.Bytes
		if bad != "" {
			return wrong("segment %d of %s has %s", f.Number, s.Name(), bad).WithHint("read the manifests again: holdfast verify")
		}
	}
	return nil
}

// own returns the range of a file in what links its store, and whether it has
// one.
func (s *Store) own(f *Manifest) (first, last int64, ok bool) {
	switch {
	case s.Link == "":
		if f.LastSeq == 0 {
			return 0, 0, false
		}
		return seqLink(f.FirstSeq), seqLink(f.LastSeq), true
	case s.Link == ByTime:
		return f.FirstTime, f.LastTime, f.LastTime != 0
	}
	return f.FirstLink, f.LastLink, f.Linked
}

// seqLink makes a link of a seq.
func seqLink(seq uint64) int64 { return int64(min(seq, everything)) }

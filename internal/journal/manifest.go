package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"slices"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
)

// manifest is the file MANIFEST: one line of JSON, and a line with its CRC32C.
// What it says of segments saves reading them at start; ids, epoch and marks
// stand in each segment's header too.
type manifest struct {
	Version  int               `json:"version"`
	ID       string            `json:"id"`
	Stream   string            `json:"stream"`
	Epoch    uint64            `json:"epoch"`
	Tail     segment.Tail      `json:"tail"`              // where the stream ended when this was written
	Counted  uint64            `json:"counted,omitempty"` // up to which seq rows were counted as missing at the end, because nobody knows how many there were
	Marks    map[string]uint64 `json:"marks"`             // registered sinks
	Ended    map[string]uint64 `json:"ended,omitempty"`   // sinks registered before, and the epoch in which that was ended
	Segments []manifestSegment `json:"segments"`

	Cut    segment.Watermark `json:"cut,omitzero"`     // what rolls have cut off
	Rolled uint64            `json:"rolled,omitempty"` // serial of the last roll that was carried out
	Gone   []goneSegment     `json:"gone,omitempty"`   // rolled, and not removed yet
	Undo   []undoable        `json:"undo,omitempty"`   // rolls that can be undone

	Beside []string `json:"beside,omitempty"` // files in the data directory that said something; see Remember
}

// goneSegment is a segment that a roll has let go.
type goneSegment struct {
	manifestSegment
	Roll  uint64 `json:"roll"`
	Until int64  `json:"until,omitempty"` // when it leaves the trash, Unix microseconds; 0: it is to be removed
	To    string `json:"to,omitempty"`    // the cold tier that has it; "": none
	Lost  bool   `json:"lost,omitempty"`  // a gap tells that sinks do not get it
}

// manifestSegment is a sealed segment.
type manifestSegment struct {
	Number    uint64 `json:"number"`
	Size      int64  `json:"size"`
	FirstSeq  uint64 `json:"first_seq"`
	LastSeq   uint64 `json:"last_seq"`
	End       int64  `json:"end"`
	Chain     uint32 `json:"chain"`
	FirstTime int64  `json:"first_time"`
	LastTime  int64  `json:"last_time"`

	FileTime int64             `json:"file_time,omitempty"` // when it was sealed
	Link     segment.LinkRange `json:"link,omitzero"`

	Directory string `json:"directory,omitempty"` // where it is; empty: beside the MANIFEST
	Packed    bool   `json:"packed,omitempty"`
}

// manifestVersion is that of a stream whose segments all lie beside its
// MANIFEST; wideVersion that of others, which an older program would not find.
const (
	manifestVersion = 1
	wideVersion     = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errManifest says that a MANIFEST is damaged.
var errManifest = errors.New("MANIFEST is damaged")

// readManifest returns the MANIFEST; the zero manifest where there is none.
func readManifest(d disk.FS) (manifest, error) {
	var m manifest
	switch err := readChecked(d, manifestName, &m); {
	case errors.Is(err, fs.ErrNotExist):
		return m, nil
	case errors.Is(err, errChecked):
		return manifest{}, errManifest
	case err != nil:
		return m, err
	}
	if m.Version != manifestVersion && m.Version != wideVersion {
		return manifest{}, fmt.Errorf("MANIFEST has version %d, this program knows up to %d: %w", m.Version, wideVersion, segment.ErrVersion)
	}
	return m, nil
}

// errChecked says that a file is not as writeChecked wrote it.
var errChecked = errors.New("checksum or content is not what was written")

// readChecked reads a file that writeChecked wrote into v.
func readChecked(d disk.FS, name string, v any) error {
	b, err := disk.ReadFile(d, name, manifestLimit)
	if err != nil {
		return err
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	if want := fmt.Sprintf("crc32c %08x\n", crc32.Checksum(line, castagnoli)); string(rest) != want {
		return errChecked
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("%w: %w", errChecked, err)
	}
	return nil
}

// writeChecked puts v in place of a file: one line of JSON, and one with its
// CRC32C. It returns the file's size.
func writeChecked(d disk.FS, name string, v any) (int64, error) {
	line, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	line = fmt.Appendf(line, "\ncrc32c %08x\n", crc32.Checksum(line, castagnoli))
	return int64(len(line)), disk.Replace(d, "", name, line)
}

// saveManifest writes the MANIFEST anew.
func (j *Journal) saveManifest() error {
	j.saving.Lock()
	defer j.saving.Unlock()
	j.mu.Lock()
	m := manifest{Version: manifestVersion, ID: j.id, Stream: j.o.Name, Epoch: j.epoch, Marks: maps.Clone(j.marks), Ended: maps.Clone(j.departed)}
	delete(m.Marks, j.leaving)
	m.Segments = make([]manifestSegment, 0, len(j.segs)) // writers wait for the lock
	m.Counted = j.counted
	m.Tail = segment.Tail{LastSeq: j.end.Seq, Chain: j.end.Chain, Number: j.newestLocked()}
	for _, s := range j.segs {
		if s.sealed {
			m.Segments = append(m.Segments, s.note())
		}
	}
	m.Cut, m.Rolled, m.Undo = j.cut, j.rolled, slices.Clone(j.undo)
	for _, s := range j.gone {
		m.Gone = append(m.Gone, goneSegment{manifestSegment: s.note(), Roll: s.roll, Until: s.until, To: s.to, Lost: s.lost})
	}
	if len(j.dirs) > 1 {
		m.Version = wideVersion
	}
	m.Beside = j.remembered
	j.dirty, j.unsaved = false, 0
	j.mu.Unlock()
	size, err := writeChecked(j.d, manifestName, m)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.dirty = true
		return fmt.Errorf("write MANIFEST of stream %q: %w", j.o.Name, err)
	}
	j.manifest, j.claimed, j.savedRoll = size, true, m.Rolled
	j.noted = math.MaxUint64
	for _, mark := range m.Marks {
		j.noted = min(j.noted, mark)
	}
	return nil
}

// manifestsLocked returns the bytes that the budget counts for the MANIFEST and
// its successor, which stands beside it while it is written.
func (j *Journal) manifestsLocked() int64 {
	return j.manifest + max(manifestReckon, j.manifest+manifestReckon/2)
}

// claimEpoch makes this run's epoch durable, which Open does unless the disk
// is full: a file written under an epoch that a later run takes as well could
// pass for one of that run.
func (j *Journal) claimEpoch() error {
	j.mu.Lock()
	claimed := j.claimed
	j.mu.Unlock()
	if claimed {
		return nil
	}
	return j.saveManifest()
}

func (j *Journal) saveIfDirty() error {
	j.mu.Lock()
	dirty := j.dirty || j.unsaved > 0
	j.mu.Unlock()
	if !dirty {
		return nil
	}
	return j.saveManifest()
}

const (
	// noteEvery is of how many segments in the MANIFEST one may be sealed without
	// it being written, so that what is written for a segment does not grow with
	// their number; mostUnsaved is how many these are at most. A start after a
	// crash reads their footers.
	noteEvery   = 256
	mostUnsaved = 64
)

// saveWhenDue is saveIfDirty, but for segments that were sealed since: what the
// MANIFEST says of those only saves reading them.
func (j *Journal) saveWhenDue() error {
	j.mu.Lock()
	due := j.dirty || j.unsaved > min(len(j.segs)/noteEvery, mostUnsaved)
	j.mu.Unlock()
	if !due {
		return nil
	}
	return j.saveManifest()
}

// newestLocked returns the number of the newest segment, there or removed.
func (j *Journal) newestLocked() uint64 {
	if n := len(j.segs); n > 0 {
		return max(j.newest, j.segs[n-1].number)
	}
	return j.newest
}

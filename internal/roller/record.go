package roller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
)

// The files, in the data directory.
const (
	rollName = "ROLL"
	version  = 1

	// slot is the size of each of the two records in ROLL: segments stand there
	// as ranges, so that a roll over a hundred streams fits.
	slot = 256 << 10
)

// record is what one roll commits, of all streams at once.
type record struct {
	Version int              `json:"version"`
	Serial  uint64           `json:"serial"`
	Rule    string           `json:"rule"`
	By      string           `json:"by"`
	At      int64            `json:"at"` // Unix microseconds
	Until   int64            `json:"until,omitempty"`
	Undo    uint64           `json:"undo,omitempty"`
	Streams map[string]share `json:"streams"` // by name
}

// share is what it changes in one stream. Segments are ranges.
type share struct {
	Ranges [][2]uint64 `json:"ranges,omitempty"`
	journal.Cut
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal returns v as one line of JSON, and one with its CRC32C.
func seal(v any) ([]byte, error) {
	line, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(line, "\ncrc32c %08x\n", crc32.Checksum(line, castagnoli)), nil
}

// errDamaged says that a file is not as it was written.
var errDamaged = errors.New("checksum or content is not what was written")

// unseal reads what seal made.
func unseal(text []byte, v any) error {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	if want := fmt.Sprintf("crc32c %08x\n", crc32.Checksum(line, castagnoli)); !bytes.HasPrefix(rest, []byte(want)) {
		return errDamaged
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

// ranges makes ranges of numbers that rise, and expand numbers of ranges.
func ranges(numbers []uint64) (all [][2]uint64) {
	for _, n := range numbers {
		if k := len(all) - 1; k >= 0 && all[k][1]+1 == n {
			all[k][1] = n
			continue
		}
		all = append(all, [2]uint64{n, n})
	}
	return all
}

func expand(all [][2]uint64) (numbers []uint64) {
	for _, r := range all {
		for n := r[0]; n <= r[1] && n-r[0] < maxRange; n++ {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// maxRange bounds what a range expands to: more segments than a stream can have.
const maxRange = 1 << 26

// readRecord returns the last record of ROLL; nil where there is none. A slot
// that is torn or was never written counts as none: its roll was not committed.
func readRecord(d disk.FS) (*record, error) {
	f, err := d.Open(rollName, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var last *record
	for n := range int64(2) {
		buf := disk.Buffer(slot)
		got, err := f.ReadAt(buf, n*slot)
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("read %s: %w", rollName, err)
		}
		var r record
		if unseal(buf[:got], &r) != nil {
			continue
		}
		if r.Version != version {
			return nil, fmt.Errorf("%s has version %d, this program knows %d: start the newer holdfast that wrote it", rollName, r.Version, version)
		}
		if last == nil || r.Serial > last.Serial {
			last = &r
		}
	}
	if last != nil {
		for name, s := range last.Streams {
			s.Doomed = expand(s.Ranges)
			last.Streams[name] = s
		}
	}
	return last, nil
}

// makeFile makes ROLL full size, where it is not, so that a roll on a full disk
// can be committed.
func makeFile(d disk.FS) error {
	f, err := d.Open(rollName, true)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = d.Create(rollName)
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if zeros := disk.Buffer(slot); err == nil && size < 2*slot { // both, or the first one alone
		for at := size / slot * slot; at < 2*slot && err == nil; at += slot {
			err = f.WriteAt(zeros, at)
		}
		if err == nil {
			err = f.Sync()
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("make %s: %w", rollName, err)
	}
	return d.SyncDir("")
}

// commit writes a record over the one before the last.
func commit(d disk.FS, r *record) error {
	text, err := seal(r)
	if err != nil {
		return err
	}
	if len(text) > slot {
		return fmt.Errorf("the roll touches too many streams or holes for one commit: %d bytes, up to %d", len(text), slot)
	}
	f, err := d.Open(rollName, true)
	if err != nil {
		return err
	}
	buf := disk.Buffer(len(text))
	copy(buf, text)
	err = f.WriteSyncAt(buf, int64(r.Serial%2)*slot)
	return errors.Join(err, f.Close())
}

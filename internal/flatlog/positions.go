package flatlog

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/inode"
)

// mark is how far one file was stored.
type mark struct {
	inode.ID
	Table   string `json:"table"`
	Writer  string `json:"writer"`
	Name    string `json:"name"` // when it was seen last
	At      int64  `json:"at"`   // what stands before it is stored
	Head    print  `json:"head"` // of the first bytes before At
	Tail    print  `json:"tail"` // of the last bytes before At
	Missing int64  `json:"missing,omitempty"`
	Gone    bool   `json:"gone,omitempty"` // it is forgotten

	Copy inode.ID `json:"copy,omitzero"` // it is a copy of that file, and not read
}

// positions is the file that says how far each followed file was stored. It is
// a log: one record per batch, of the files that the batch has lines of, and
// first a record of all files. What is in force is what the store has committed:
// its position is the number of the last batch whose rows it has, so a record
// that was written for rows which were not stored counts for nothing.
//
// A record is a multiple of disk.Align long:
//
//	 0  8 bytes  positionsMagic
//	 8  u32      length of the JSON
//	12  u32      CRC32C of bytes 16 to 28 and the JSON
//	16  u64      number of the batch
//	24  u32      that checksum of the record before; 0 in the first
//	28  JSON     content
type positions struct {
	d    disk.FS
	name string
	id   string
	n    uint64 // the last batch that the store has
	sum  uint32 // of its record
	end  int64  // where the next record goes
	full int64  // length of the record of all files
	at   map[inode.ID]mark
	f    disk.File

	next    []mark // of the record that was written last
	nextSum uint32
	nextEnd int64
}

const (
	positionsMagic = "HFFLATP1"
	positionsHead  = 28
	maxPositions   = 64 << 20 // bytes of the file
	// compactAt is how large the file may grow before it is written anew, and
	// compactBy how many times the record of all files it may be.
	compactAt = 1 << 20
	compactBy = 4
)

// content is the JSON of a record.
type content struct {
	ID    string `json:"id,omitempty"` // of the file, in its first record
	Files []mark `json:"files"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openPositions opens the file, of which the store has committed a position; ""
// where it has none. Then the file begins anew, whatever is there.
func openPositions(d disk.FS, name, committed string) (*positions, error) {
	p := &positions{d: d, name: name, at: map[inode.ID]mark{}}
	if committed == "" {
		var id [8]byte
		rand.Read(id[:])
		p.id = hex.EncodeToString(id[:])
		return p, p.compact()
	}
	id, number, _ := strings.Cut(committed, ":")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || id == "" {
		return nil, fault.New(fault.DataCorrupted, "position %q is not one of followed files", committed).WithHint("give the source another name")
	}
	p.id = id
	text, err := disk.ReadFile(d, name, maxPositions)
	if err == nil {
		err = p.read(text, n)
	}
	if err != nil {
		return nil, fault.New(fault.DataCorrupted, "how far files were stored cannot be read from %q", name).Because(err).
			WithHint("put it back from a copy of the data directory that was made at once; without it nobody knows which lines are stored")
	}
	if p.f, err = d.Open(name, true); err != nil {
		return nil, fmt.Errorf("open positions %q: %w", name, err)
	}
	return p, nil
}

// read takes records up to batch n.
func (p *positions) read(text []byte, n uint64) error {
	for first := true; first || p.n < n; first = false {
		c, size, err := p.record(text, first)
		if err != nil {
			return err
		}
		if first {
			p.full = int64(size)
		}
		if first && c.ID != p.id {
			return fmt.Errorf("it is of %q, not of %q", c.ID, p.id)
		}
		p.apply(c.Files)
		p.end += int64(size)
		text = text[size:]
	}
	if p.n != n {
		return fmt.Errorf("it begins with batch %d, and the store has %d", p.n, n)
	}
	return nil
}

// record parses the record that text begins with, and takes its number over.
func (p *positions) record(text []byte, first bool) (c content, size int, err error) {
	if len(text) < positionsHead || string(text[:8]) != positionsMagic {
		return c, 0, fmt.Errorf("it ends with batch %d at byte %d, too early", p.n, p.end)
	}
	length, sum := int64(binary.LittleEndian.Uint32(text[8:])), binary.LittleEndian.Uint32(text[12:])
	n, before := binary.LittleEndian.Uint64(text[16:]), binary.LittleEndian.Uint32(text[24:])
	if positionsHead+length > int64(len(text)) {
		return c, 0, fmt.Errorf("the record at byte %d is cut off", p.end)
	}
	body := text[positionsHead : positionsHead+length]
	if got := crc32.Update(crc32.Checksum(text[16:positionsHead], castagnoli), castagnoli, body); got != sum {
		return c, 0, fmt.Errorf("the checksum of the record at byte %d does not match", p.end)
	}
	if !first && (n != p.n+1 || before != p.sum) {
		return c, 0, fmt.Errorf("the record at byte %d is of batch %d, and batch %d was before", p.end, n, p.n)
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return c, 0, fmt.Errorf("the record at byte %d: %w", p.end, err)
	}
	p.n, p.sum = n, sum
	return c, min(disk.Up(positionsHead+int(length)), len(text)), nil
}

// position is what the store remembers once it has batch n.
func (p *positions) position(n uint64) string { return fmt.Sprintf("%s:%d", p.id, n) }

// stands is what the store remembers now.
func (p *positions) stands() string {
	if p.n == 0 {
		return ""
	}
	return p.position(p.n)
}

// encode returns the record of a batch.
func encode(n uint64, before uint32, c content) (record []byte, sum uint32, err error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, 0, err
	}
	record = disk.Buffer(positionsHead + len(body))
	copy(record, positionsMagic)
	binary.LittleEndian.PutUint32(record[8:], uint32(len(body)))
	binary.LittleEndian.PutUint64(record[16:], n)
	binary.LittleEndian.PutUint32(record[24:], before)
	copy(record[positionsHead:], body)
	sum = crc32.Update(crc32.Checksum(record[16:positionsHead], castagnoli), castagnoli, body)
	binary.LittleEndian.PutUint32(record[12:], sum)
	return record, sum, nil
}

// write makes the record of the next batch durable. It counts once committed
// is called, or, after a crash, once the store has the batch.
func (p *positions) write(marks []mark) error {
	if p.f == nil || p.end > compactAt && p.end > compactBy*p.full {
		if err := p.compact(); err != nil {
			return err
		}
	}
	record, sum, err := encode(p.n+1, p.sum, content{Files: marks})
	if err != nil {
		return err
	}
	if err := p.f.WriteSyncAt(record, p.end); err != nil {
		// What failed to be written must not be written again: the next record
		// goes to a file of its own.
		err = errors.Join(err, p.f.Close())
		p.f = nil
		return fmt.Errorf("write positions %q: %w", p.name, err)
	}
	p.next, p.nextSum, p.nextEnd = slices.Clone(marks), sum, p.end+int64(len(record))
	return nil
}

// committed says that the store has the batch that was written last.
func (p *positions) committed() {
	p.n, p.sum, p.end = p.n+1, p.nextSum, p.nextEnd
	p.apply(p.next)
}

func (p *positions) apply(marks []mark) {
	for _, m := range marks {
		if m.Gone {
			delete(p.at, m.ID)
		} else {
			p.at[m.ID] = m
		}
	}
}

// compact puts a file in place that holds what is in force, in one record.
func (p *positions) compact() error {
	all := slices.SortedFunc(maps.Values(p.at), func(a, b mark) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	record, sum, err := encode(p.n, 0, content{ID: p.id, Files: all})
	if err != nil {
		return err
	}
	if p.f != nil {
		err := p.f.Close()
		if p.f = nil; err != nil {
			return fmt.Errorf("close positions %q: %w", p.name, err)
		}
	}
	if err := disk.Replace(p.d, dirOf(p.name), p.name, record); err != nil {
		return fmt.Errorf("write positions %q: %w", p.name, err)
	}
	f, err := p.d.Open(p.name, true)
	if err != nil {
		return fmt.Errorf("open positions %q: %w", p.name, err)
	}
	p.f, p.sum, p.end, p.full = f, sum, int64(len(record)), int64(len(record))
	return nil
}

func dirOf(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

func (p *positions) close() error {
	if p == nil || p.f == nil {
		return nil
	}
	return p.f.Close()
}

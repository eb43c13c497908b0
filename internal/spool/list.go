package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"holdfast/internal/disk"
)

const (
	maxList = 8 << 20 // bytes of the list of a batch
	listHow = 1       // version of the list
)

// taken is a file of a batch.
type taken struct {
	Dir  string `json:"dir"`
	Name string `json:"name"`
	identity
}

// list is the JSON of the file that has the files of a batch.
type list struct {
	Version int     `json:"version"`
	Batch   string  `json:"batch"`
	Behind  string  `json:"behind"`
	Files   []taken `json:"files"`
}

// write puts a list in the place of the last one.
func (s *Spool) write(l list) error {
	l.Version = listHow
	text, err := json.Marshal(l)
	if err == nil {
		err = disk.Replace(s.o.State, "", s.o.Name, sealed(text))
	}
	if err != nil {
		return fmt.Errorf("write the list of a batch: %w", err)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealed returns a line with its checksum behind it.
func sealed(line []byte) []byte {
	return fmt.Appendf(line, "\ncrc32c %08x\n", crc32.Checksum(line, castagnoli))
}

func readList(d disk.FS, name string) (l list, err error) {
	text, err := disk.ReadFile(d, name, maxList)
	if err != nil {
		return l, err
	}
	const tail = len("\ncrc32c 01234567\n")
	n := max(0, len(text)-tail)
	if string(sealed(text[:n:n])) != string(text) {
		return l, errors.New("it is damaged: its checksum does not match")
	}
	if err := json.Unmarshal(text[:n], &l); err != nil {
		return l, err
	}
	if l.Version != listHow {
		return l, fmt.Errorf("it has version %d, this program knows %d", l.Version, listHow)
	}
	return l, nil
}

package blocks

import (
	"strings"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
)

// The phases of a journal's work, as they are seen from the disk. Each must be
// among the moments that are played back.
const (
	phaseStart    = "start"
	phaseAck      = "append and flush"
	phaseWrite    = "append without flush"
	phaseBegin    = "header of a segment"
	phaseReserve  = "reserve"
	phaseRoll     = "roll"
	phaseSeal     = "seal"
	phaseStage    = "stage"
	phaseAdopt    = "commit of a large transaction"
	phaseRemove   = "removal"
	phaseRecycle  = "recycling"
	phaseManifest = "MANIFEST"
	phaseNames    = "flush of names"
)

var phases = []string{
	phaseStart, phaseAck, phaseWrite, phaseBegin, phaseReserve, phaseRoll, phaseSeal, phaseStage, phaseAdopt,
	phaseRemove, phaseRecycle, phaseManifest, phaseNames,
}

// spy notes when the disk below it is called, and for what.
type spy struct {
	disk.FS
	h *history
	// hasty has it say of each row that it is flushed without flushing it.
	hasty bool
}

// manifest is the file that is put in place of the old MANIFEST.
const manifest = "MANIFEST.tmp"

func (s spy) Create(name string) (f disk.File, err error) {
	phase := phaseReserve
	switch {
	case name == manifest:
		phase = phaseManifest
	case strings.HasSuffix(name, ".stage"):
		phase = phaseStage
	}
	err = s.h.call(phase, func() (err error) {
		f, err = s.FS.Create(name)
		return err
	})
	return spyFile{f, s, name}, err
}

func (s spy) Open(name string, write bool) (disk.File, error) {
	f, err := s.FS.Open(name, write)
	return spyFile{f, s, name}, err
}

func (s spy) Rename(from, to string) error {
	phase := phaseRoll
	switch {
	case from == manifest:
		phase = phaseManifest
	case strings.HasSuffix(from, ".stage"):
		phase = phaseAdopt
	case strings.HasSuffix(from, ".seg"):
		phase = phaseRecycle
	}
	return s.h.call(phase, func() error { return s.FS.Rename(from, to) })
}

func (s spy) Remove(name string) error {
	return s.h.call(phaseRemove, func() error { return s.FS.Remove(name) })
}

func (s spy) SyncDir(name string) error {
	return s.h.call(phaseNames, func() error { return s.FS.SyncDir(name) })
}

// spyFile is a file of a spy, by the name under which it was opened.
type spyFile struct {
	disk.File
	s    spy
	name string
}

func (f spyFile) phase(off int64) string {
	switch {
	case f.name == manifest:
		return phaseManifest
	case off < segment.DataStart:
		return phaseBegin
	case strings.HasSuffix(f.name, ".stage"):
		return phaseStage
	}
	return phaseWrite
}

func (f spyFile) WriteAt(p []byte, off int64) error {
	return f.s.h.call(f.phase(off), func() error { return f.File.WriteAt(p, off) })
}

func (f spyFile) WriteSyncAt(p []byte, off int64) error {
	phase := f.phase(off)
	if phase == phaseWrite {
		phase = phaseAck
		if f.s.hasty {
			return f.s.h.call(phase, func() error { return f.File.WriteAt(p, off) })
		}
	}
	return f.s.h.call(phase, func() error { return f.File.WriteSyncAt(p, off) })
}

func (f spyFile) Truncate(size int64) error {
	phase := phaseSeal
	if f.name == manifest {
		phase = phaseManifest
	}
	return f.s.h.call(phase, func() error { return f.File.Truncate(size) })
}

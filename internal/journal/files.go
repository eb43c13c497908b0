package journal

import (
	"fmt"
	"strconv"
	"strings"
)

// All names in a stream's directory.
const (
	segmentSuffix  = ".seg"     // <number, 16 digits>.seg
	spareSuffix    = ".spare"   // <epoch>-<serial>.spare: written with zeros, or used before, and ready for use
	freshSuffix    = ".fresh"   // <epoch>-<serial>.fresh: becomes a spare once its zeros are flushed
	stagedSuffix   = ".stage"   // <epoch>-<serial>.stage: a large transaction that is not committed
	trashSuffix    = ".trash"   // <number, 16 digits>.trash: a segment that was rolled, and can be brought back
	copySuffix     = ".copy"    // <epoch>-<serial>.copy: a copy that is being made for another tier
	packedSuffix   = ".seg.zst" // <number, 16 digits>.seg.zst: a packed segment of the warm tier
	movedSuffix    = ".moved"   // <epoch>-<serial>.moved: a misplaced segment that steps aside while repair renames others
	manifestName   = "MANIFEST"
	gapsName       = "GAPS"       // what repair has given up
	lostDir        = "lost+found" // packed files that are no segments of the stream
	quarantineDir  = "quarantine" // the bytes that it gave up, as they were
	checkpointName = "CHECKPOINT" // how far the newest segment was flushed
	numberDigits   = 16
	manifestLimit  = 1 << 30  // bytes; 100,000 segments take 27 MiB
	manifestReckon = 64 << 10 // what the budget sets aside, at least, for the successor of the MANIFEST
)

func segmentName(number uint64) string {
	return fmt.Sprintf("%0*d%s", numberDigits, number, segmentSuffix)
}

// packedName is what a packed segment is called.
func packedName(number uint64) string {
	return fmt.Sprintf("%0*d%s", numberDigits, number, packedSuffix)
}

// segmentNumber returns the number in a segment's name.
func segmentNumber(name string) (uint64, bool) {
	return numberIn(name, segmentSuffix)
}

// movedPackedSuffix is movedSuffix of a packed segment.
const movedPackedSuffix = movedSuffix + ".zst"

// waits tells whether a file steps aside until its own name is free.
func waits(name string) bool {
	return strings.HasSuffix(name, movedSuffix) || strings.HasSuffix(name, movedPackedSuffix)
}

// numberIn returns the number in a name with the given suffix.
func numberIn(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != numberDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// ownName returns a name that no file of this journal ever had.
func (j *Journal) ownName(suffix string) (name string, serial uint64) {
	serial = j.serial.Add(1)
	return fmt.Sprintf("%d-%d%s", j.epoch, serial, suffix), serial
}

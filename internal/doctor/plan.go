package doctor

import (
	"fmt"
	"math"
	"path"
	"strings"
	"time"

	"holdfast/internal/fault"
)

// What a plan can be for.
const (
	ForSpool  = "spool"  // a directory with one file per row
	ForStream = "stream" // the segments of a stream
)

// Need is what a partition is planned for.
type Need struct {
	For           string        `json:"for"`
	RowsPerSecond float64       `json:"rows_per_second"`
	RowSize       int64         `json:"row_size"` // bytes of the values
	Outage        time.Duration `json:"-"`
	FS            string        `json:"fs"`              // "ext4", "xfs" or "ffs"
	Device        string        `json:"device"`          // only named in what is printed
	Mount         string        `json:"mount"`           // where it goes
	FilesPerRow   float64       `json:"files_per_row"`   // of a spool; 0.01: a hundred rows in each file
	RowsPerCommit float64       `json:"rows_per_commit"` // of a stream: rows that one flush covers
}

// Step is one line of the arithmetic.
type Step struct {
	What  string `json:"what"`
	Value int64  `json:"value"`
	Unit  string `json:"unit"` // "rows", "files", "bytes", "inodes" or "percent"
	How   string `json:"how"`  // how Value comes from those before
}

// Plan is a partition and what to do with it.
type Plan struct {
	Need    Need     `json:"need"`
	Outage  float64  `json:"outage_seconds"`
	Rows    int64    `json:"rows"`  // that the outage brings
	Files   int64    `json:"files"` // that they are in, a fifth more included; of a stream, its segments
	Bytes   int64    `json:"bytes"` // of one file
	Size    int64    `json:"size"`  // bytes that the partition needs
	Inodes  int64    `json:"inodes"`
	Steps   []Step   `json:"steps"`
	Mkfs    string   `json:"mkfs"`          // erases the device
	Options string   `json:"mount_options"` // of the mount
	Fstab   string   `json:"fstab"`
	Then    []string `json:"then"`   // commands behind mkfs, in order
	Config  string   `json:"config"` // YAML for Holdfast's configuration; "" where nothing follows
	Notes   []string `json:"notes"`
}

// Bounds of what is planned: beyond them somebody mistyped.
const (
	maxRate    = 1e8
	maxRowSize = 8 << 20 // what a row can be in the journal
	maxOutage  = 366 * 24 * time.Hour
	maxVolume  = 1 << 50
	maxInodes  = math.MaxUint32 // of ext4, and plenty elsewhere
)

// margin is how many files and bytes there is room for beyond the outage.
const margin = 1.2

const mib = 1 << 20

// MakePlan works the plan out. The error is a *fault.Error that says which
// value cannot be.
func MakePlan(n Need) (*Plan, error) {
	if n.FilesPerRow == 0 {
		n.FilesPerRow = 1
	}
	if n.RowsPerCommit == 0 {
		n.RowsPerCommit = 1
	}
	if err := n.check(); err != nil {
		return nil, err
	}
	p := &Plan{Need: n, Outage: n.Outage.Seconds()}
	p.Rows = int64(math.Ceil(n.RowsPerSecond * n.Outage.Seconds()))
	p.step("rows", p.Rows, "rows", "%s rows/s x %s s", number(n.RowsPerSecond), number(n.Outage.Seconds()))
	make := p.spool
	if n.For == ForStream {
		make = p.stream
	}
	if err := make(); err != nil {
		return nil, err
	}
	if p.Size > maxVolume {
		return nil, refuse("plan for less, or for several partitions", "the partition would have %d bytes, more than a petabyte", p.Size)
	}
	p.follow()
	return p, nil
}

// number writes f without an exponent.
func number(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", f), "0"), ".")
}

func refuse(hint, message string, args ...any) error {
	return fault.New(fault.InvalidParameterValue, message, args...).WithHint("%s", hint)
}

// check sees that each value can be.
func (n *Need) check() error {
	absolute := path.IsAbs(n.Mount) && n.Mount == path.Clean(n.Mount) && n.Mount != "/"
	switch {
	case n.For != ForSpool && n.For != ForStream:
		return refuse("spool, one file per row; or stream, the segments of a stream", "a plan for %q is not known", n.For)
	case n.FS != "ext4" && n.FS != "xfs" && n.FS != "ffs":
		return refuse("ext4, xfs or ffs", "file system %q is not one that is planned", n.FS)
	case !(n.RowsPerSecond > 0 && n.RowsPerSecond <= maxRate):
		return refuse("above 0, at most 100000000", "%s rows per second cannot be", number(n.RowsPerSecond))
	case n.RowSize < 1 || n.RowSize > maxRowSize:
		return refuse("from 1 to 8388608 bytes", "a row of %d bytes cannot be", n.RowSize)
	case n.Outage < time.Second || n.Outage > maxOutage:
		return refuse("from 1s to 8784h", "an outage of %s is not one to plan for", n.Outage)
	case !(n.FilesPerRow >= 0.0001 && n.FilesPerRow <= 100):
		return refuse("from 0.0001, ten thousand rows in a file, to 100", "%g files per row cannot be", n.FilesPerRow)
	case !(n.RowsPerCommit >= 1 && n.RowsPerCommit <= 1e6):
		return refuse("from 1 to 1000000", "%g rows per commit cannot be", n.RowsPerCommit)
	case !absolute || strings.ContainsAny(n.Mount, " \t\n'\"\\$`=;#"):
		return refuse("an absolute path of plain characters, which is not /", "nothing can be mounted at %q", n.Mount)
	case n.Device == "" || strings.ContainsAny(n.Device, " \t\n'\"\\$`;#&|<>"):
		return refuse("like /dev/sdb1", "%q names no device", n.Device)
	}
	return nil
}

func (p *Plan) step(what string, value int64, unit, how string, args ...any) {
	p.Steps = append(p.Steps, Step{what, value, unit, fmt.Sprintf(how, args...)})
}

func (p *Plan) note(text string, args ...any) { p.Notes = append(p.Notes, fmt.Sprintf(text, args...)) }

// label names the file system, so that fstab finds it whatever its device is
// called after the next start. XFS takes 12 characters.
func (p *Plan) label() string { return "hf-" + p.Need.For }

// dir is the directory on the volume that Holdfast is given: the mount point
// itself is there without the volume, and this is not.
func (p *Plan) dir() string { return path.Join(p.Need.Mount, "rows") }

// follow says what comes behind the size: mounting, and what keeps the system
// out of it.
func (p *Plan) follow() {
	n := p.Need
	if n.FS == "ffs" {
		p.followFFS()
		return
	}
	p.Options = "noatime,nodev,nosuid,noexec"
	pass := 0
	if n.For == ForStream && n.FS == "ext4" {
		pass = 2
	}
	p.Fstab = fmt.Sprintf("LABEL=%s %s %s %s,nofail 0 %d", p.label(), n.Mount, n.FS, p.Options, pass)
	p.Then = []string{
		"mkdir -p " + n.Mount,
		fmt.Sprintf("echo '%s' >> /etc/fstab", p.Fstab),
		"mount " + n.Mount,
	}
	if n.For == ForSpool {
		p.Then = append(p.Then, fmt.Sprintf("install -d -m 0700 -o holdfast %[1]s %[1]s/tmp %[1]s/new %[1]s/cur", p.dir()))
		p.note("the last 0 of the fstab line: no check at boot, which takes half a minute for two million files and would hold the boot up; the file system replays its own journal. Check it by hand, unmounted, while a spare partition takes the files")
		p.note("keep the system out of it: add %s to PRUNEPATHS in /etc/updatedb.conf, and to the exclusions of backups and scanners; holdfast doctor %s says what still comes by", n.Mount, p.dir())
		p.note("use dated sub-directories and remove each when it is empty: a directory never gets smaller")
	} else {
		p.Then = append(p.Then, fmt.Sprintf("install -d -m 0700 -o holdfast %s", p.dir()))
	}
	without := "writers then find no directory, instead of filling the volume below"
	if n.For == ForStream {
		without = "and Holdfast, which is told with == that it must be there, refuses to start instead of filling the volume below"
	}
	p.note("nofail: the machine starts without this volume; %s is then missing, %s", p.dir(), without)
}

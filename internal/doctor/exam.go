package doctor

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast/internal/config"
	"holdfast/internal/httpapi"
	"holdfast/internal/volume"
)

// Installation is what is looked at.
type Installation struct {
	Config *config.Config  // nil: only Dirs are looked at, and the machine
	Dirs   []string        // further directories, as those of a spool
	Status *httpapi.Status // of the server that has the data directory open; nil: none answers

	LeastFiles int  // descriptors without which the server does not start
	AllFiles   int  // descriptors that all connections of the configuration need
	Write      bool // time the flushes of a small file in each place
}

// What a place is used for.
type use int

const (
	useData use = iota
	useStream
	useSink
	useSource // others write there, and rotate
	useNamed  // by whoever asks: a spool directory, say
)

// place is one directory of the installation.
type place struct {
	Place
	use     use
	real    string // itself, or the nearest directory above that is there; no symbolic links
	exists  bool
	mount   volume.Mount
	mounted bool // mount is known
	minFree config.MinFree
	bounded bool // a stream that has a budget
	stream  string
	exist   bool // it is never made
}

// exam is one look at an installation.
type exam struct {
	ctx    context.Context
	in     Installation
	host   *Host
	now    time.Time
	places []*place
	pid    int  // of the server; 0: not known
	held   bool // somebody holds the lock of the data directory
	report Report
}

// Examine looks at the installation and the machine under it. What cannot be
// looked at, for want of a permission or because the system does not tell it,
// is passed over, or a Note.
func Examine(ctx context.Context, in Installation, host *Host) Report {
	if host == nil {
		host = &Host{}
	}
	x := &exam{ctx: ctx, in: in, host: host, now: time.Now(), report: Report{Findings: []Finding{}, Places: []Place{}}}
	x.clock()
	x.collect()
	x.lock()
	x.volumes()
	x.room()
	x.modes()
	x.scans()
	x.process()
	x.unit()
	x.server()
	if in.Write {
		x.flushes()
	}
	for _, p := range x.places {
		x.report.Places = append(x.report.Places, p.Place)
	}
	x.report.sort()
	return x.report
}

// add records f.
func (x *exam) add(f Finding) { x.report.Findings = append(x.report.Findings, f) }

// checked records that a check was made.
func (x *exam) checked(names ...string) { x.report.Checks = append(x.report.Checks, names...) }

// collect finds the directories, and what each lies on.
func (x *exam) collect() {
	if c := x.in.Config; c != nil {
		x.visit(&place{Place: Place{Dir: c.Data, Use: "data"}, use: useData, minFree: c.Streams[config.MainStream].MinFree})
		for _, name := range c.StreamNames() {
			s := c.Streams[name]
			for _, p := range s.Places() {
				x.visit(&place{Place: Place{Dir: p.Path, Use: "stream " + name}, use: useStream, minFree: s.MinFree, bounded: p.Size > 0, stream: name, exist: p.Exist})
			}
		}
		for _, name := range c.SinkNames() {
			if dir := sinkDir(c.Sinks[name]); dir != "" {
				x.visit(&place{Place: Place{Dir: dir, Use: "sink " + name}, use: useSink})
			}
		}
		for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
			if dir := c.Sources[name].Directory(); dir != "" { // others listen
				x.visit(&place{Place: Place{Dir: dir, Use: "source " + name}, use: useSource})
			}
		}
	}
	for _, dir := range x.in.Dirs {
		x.visit(&place{Place: Place{Dir: dir, Use: "directory"}, use: useNamed})
	}
}

// sinkDir returns the directory of this machine that a sink writes to; "" where
// it is elsewhere.
func sinkDir(s *config.Sink) string {
	switch s.Type {
	case config.SQLite:
		return filepath.Dir(s.File)
	case config.Flat, config.Mcache:
		return s.Directory()
	}
	return ""
}

func (x *exam) visit(p *place) {
	if full, err := filepath.Abs(p.Dir); err == nil {
		p.Dir = full
	}
	p.real = p.Dir
	for {
		real, err := filepath.EvalSymlinks(p.real)
		if err == nil {
			p.exists, p.real = p.real == p.Dir, real
			break
		}
		above := filepath.Dir(p.real)
		if above == p.real {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			x.add(Finding{Warning, "reachable", p.Dir, err.Error(), "what is there cannot be looked at", "run the doctor as root, or as the server's user", nil})
		}
		p.real = above
	}
	p.mount, p.mounted = volume.Find(volume.Parse(text(x.host.proc("self", "mountinfo"))), p.real)
	p.FileSystem, p.Mount, p.Device = p.mount.Kind, p.mount.At, p.mount.Source
	x.places = append(x.places, p)
	x.present(p)
}

// outer returns the places that are in no other one, where several things are
// said of a directory and everything below it.
func (x *exam) outer() (all []*place) {
	for i, p := range x.places {
		inside := slices.ContainsFunc(x.places[:i], func(o *place) bool { return o.Dir == p.Dir }) ||
			slices.ContainsFunc(x.places, func(o *place) bool { return o.Dir != p.Dir && volume.Within(o.Dir, p.Dir) })
		if !inside {
			all = append(all, p)
		}
	}
	return all
}

// present says what is not there yet.
func (x *exam) present(p *place) {
	x.checked("present")
	info, err := os.Stat(p.Dir)
	switch {
	case err == nil && !info.IsDir():
		x.add(Finding{Critical, "present", p.Dir, "a file", "a directory is needed there", "move the file away, or name another directory", []string{"ls -ld " + quote(p.Dir)}})
	case err == nil || !errors.Is(err, fs.ErrNotExist):
	case p.use == useNamed:
		x.add(Finding{Critical, "present", p.Dir, "missing", "nothing can be put there; perhaps a volume is not mounted", "mount it, or make the directory", []string{"findmnt --fstab --target " + quote(p.Dir)}})
	case p.use == useSink && volume.Within(x.places[0].Dir, p.Dir): // the data directory, which serve makes
	case p.use == useSink:
		x.add(Finding{Warning, "present", p.Dir, "missing", "the sink waits until it is there; perhaps a volume is not mounted", "mount it, or make the directory and let the server's user write there", []string{"install -d -o holdfast " + quote(p.Dir)}})
	case p.use == useSource:
		x.add(Finding{Warning, "present", p.Dir, "missing", "nothing comes in from there; perhaps a volume is not mounted", "mount it, or let the program that writes there make it", []string{"findmnt --fstab --target " + quote(p.Dir)}})
	case p.use == useStream && p.exist:
		x.add(Finding{Critical, "present", p.Dir, "missing", "it is configured with ==, so the server does not start without it: a volume is not mounted", "mount the volume", []string{"findmnt --fstab --target " + quote(p.Dir), "mount -a"}})
	case p.use == useData:
		x.add(Finding{Note, "present", p.Dir, "not there yet", "holdfast serve makes it; what it will lie on was looked at instead", "", nil})
	}
}

// quote makes name safe to paste into a shell.
func quote(name string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	if name != "" && strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) < 0 {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Layout says where the complete files of a spool are.
type Layout string

// LayoutPlain is any file, LayoutMaildir one in a directory called new.
const (
	LayoutPlain   Layout = "plain"
	LayoutMaildir Layout = "maildir"
)

var layouts = []string{string(LayoutPlain), string(LayoutMaildir)}

func (l *Layout) scan(text string) error {
	err := pick("layout", text, layouts)
	if err == nil {
		*l = Layout(text)
	}
	return err
}

func (*Layout) shape() map[string]any { return enum(layouts) }

// SpoolFormat is how rows stand in the files of a spool.
type SpoolFormat string

// The formats of spools.
const (
	SpoolNDJSON SpoolFormat = "ndjson" // an object per line
	SpoolCSV    SpoolFormat = "csv"    // with a header line
	SpoolFlat   SpoolFormat = "flat"   // a bar between values
	SpoolRaw    SpoolFormat = "raw"    // a file is one value
)

var spoolFormats = []string{string(SpoolNDJSON), string(SpoolCSV), string(SpoolFlat), string(SpoolRaw)}

func (f *SpoolFormat) scan(text string) error {
	err := pick("format", text, spoolFormats)
	if err == nil {
		*f = SpoolFormat(text)
	}
	return err
}

func (*SpoolFormat) shape() map[string]any { return enum(spoolFormats) }

// Symlinks says what a symbolic link in a spool is.
type Symlinks string

// SymlinksRefuse sets links aside, SymlinksValues takes their text.
const (
	SymlinksRefuse Symlinks = "refuse"
	SymlinksValues Symlinks = "values"
)

var symlinks = []string{string(SymlinksRefuse), string(SymlinksValues)}

func (s *Symlinks) scan(text string) error {
	err := pick("symlinks", text, symlinks)
	if err == nil {
		*s = Symlinks(text)
	}
	return err
}

func (*Symlinks) shape() map[string]any { return enum(symlinks) }

const (
	defaultMaxFile = Size(16 << 20)
	mostMaxFile    = Size(256 << 20)
)

// mounted ends the url of a spool that must be a mounted volume.
func (s *Source) mounted() string {
	if s.Type == Spool && strings.HasSuffix(string(s.URL), "==") {
		return "=="
	}
	return ""
}

// Partition is a directory that files are dropped in.
type Partition struct {
	Dir     string
	Mounted bool // a volume must be mounted there
}

// Partitions returns the directories of a spool: that of its url, and its spare.
func (s *Source) Partitions() []Partition {
	var all []Partition
	for _, u := range []URL{s.URL, s.Spare} {
		if u != "" {
			dir, mounted := strings.CutSuffix(strings.TrimPrefix(string(u), sourceSchemes[Spool].prefix), "==")
			all = append(all, Partition{dir, mounted})
		}
	}
	return all
}

func (c *Config) settleSpool(key string, s *Source) {
	if s.Layout == "" {
		s.Layout = LayoutPlain
	}
	if s.Format == "" {
		s.Format = SpoolNDJSON
	}
	if s.Symlinks == "" {
		s.Symlinks = SymlinksRefuse
	}
	if s.MaxFile == 0 {
		s.MaxFile = defaultMaxFile
	}
	if !c.has(key + ".poll") {
		s.Poll = defaultPoll
	}
}

// judgeSpool judges a source that files are dropped in.
func (c *Config) judgeSpool(add report, key, name string, places map[string]string) {
	s, form := c.Sources[name], sourceSchemes[Spool]
	if !strings.HasPrefix(string(s.URL), form.prefix) {
		add(key+".url", fmt.Sprintf("write it like %q", form.example), "source %q does not say which directory it is", name)
		return
	}
	for i, p := range s.Partitions() {
		at := key + [...]string{".url", ".spare"}[i]
		if i == 1 && !strings.HasPrefix(string(s.Spare), form.prefix) {
			add(at, fmt.Sprintf("write it like %q", form.example), "source %q does not say which directory its spare is", name)
			continue
		}
		c.judgePartition(add, at, name, p.Dir, places)
	}
	c.judgeIntake(add, key, name, places)
	if s.MaxFile < 1<<10 || s.MaxFile > mostMaxFile {
		add(key+".max_file", "from 1 KB to 256 MB", "a largest file of %d bytes", int64(s.MaxFile))
	}
	if len(s.Columns) > 0 && s.Format != SpoolFlat {
		add(key+".columns", "remove it: ndjson and csv name their columns themselves", "source %q has columns, and its format is %s", name, string(s.Format))
	}
}

// judgePartition judges a directory that files are dropped in.
func (c *Config) judgePartition(add report, key, name, dir string, places map[string]string) {
	if err := checkPath(dir); err != nil {
		add(key, fmt.Sprintf("write it like %q", sourceSchemes[Spool].example), "%s", err)
		return
	}
	own := absolute(dir)
	for _, place := range slices.Sorted(maps.Keys(places)) {
		if below(place, own) || below(own, place) {
			add(key, "give each source a directory of its own", "source %q reads what source %q reads", name, places[place])
		}
	}
	places[own] = name
	if data := absolute(c.Data); below(data, own) || below(own, data) {
		add(key, "give it a directory of its own", "source %q would take in files of the data directory %q", name, c.Data)
	}
	for _, k := range c.SinkNames() {
		if sink := c.Sinks[k]; sink.Type == Flat && (below(own, absolute(sink.Directory())) || below(absolute(sink.Directory()), own)) {
			add(key, "let the sink write elsewhere", "source %q takes files in from where sink %q writes", name, k)
		}
	}
}

// judgeIntake judges the link of a spool with a spare.
func (c *Config) judgeIntake(add report, key, name string, places map[string]string) {
	s := c.Sources[name]
	switch {
	case s.Spare == "" && s.Intake != "":
		add(key+".intake", `add "spare: spool:DIRECTORY", or remove it`, "source %q has an intake, and no spare that it could be switched to", name)
		return
	case s.Spare == "":
		return
	case s.Intake == "":
		add(key+".spare", `add "intake: LINK", a path that the server makes a symbolic link at, for writers to write through`, "source %q has a spare, and no intake that could be switched to it", name)
		return
	}
	if err := checkPath(s.Intake); err != nil || !filepath.IsAbs(s.Intake) {
		add(key+".intake", `like "/var/spool/holdfast/calls"`, "the intake %q of source %q is no absolute path", s.Intake, name)
		return
	}
	for _, place := range slices.Sorted(maps.Keys(places)) {
		if below(place, absolute(s.Intake)) || below(absolute(s.Intake), place) {
			add(key+".intake", "put the link beside them, where only the server's user may write", "the intake of source %q is not outside of %q, which files are read from", name, place)
		}
	}
	for i, p := range s.Partitions() {
		if !filepath.IsAbs(p.Dir) {
			add(key+[...]string{".url", ".spare"}[i], "write the whole path", "source %q has an intake, and its directory %q is no absolute path", name, p.Dir)
		}
	}
}

// below tells whether a path is dir or below it; both are absolute.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

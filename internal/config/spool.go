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

// Mounted tells whether a volume must be mounted at the source's directory.
func (s *Source) Mounted() bool { return s.mounted() != "" }

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
	dir := s.Directory()
	if err := checkPath(dir); err != nil {
		add(key+".url", fmt.Sprintf("write it like %q", form.example), "%s", err)
		return
	}
	own := absolute(dir)
	for _, place := range slices.Sorted(maps.Keys(places)) {
		if below(place, own) || below(own, place) {
			add(key+".url", "give each source a directory of its own", "source %q reads what source %q reads", name, places[place])
		}
	}
	places[own] = name
	if data := absolute(c.Data); below(data, own) || below(own, data) {
		add(key+".url", "give it a directory of its own", "source %q would take in files of the data directory %q", name, c.Data)
	}
	for _, k := range c.SinkNames() {
		if sink := c.Sinks[k]; sink.Type == Flat && (below(own, absolute(sink.Directory())) || below(absolute(sink.Directory()), own)) {
			add(key+".url", "let the sink write elsewhere", "source %q takes files in from where sink %q writes", name, k)
		}
	}
	if s.MaxFile < 1<<10 || s.MaxFile > mostMaxFile {
		add(key+".max_file", "from 1 KB to 256 MB", "a largest file of %d bytes", int64(s.MaxFile))
	}
	if len(s.Columns) > 0 && s.Format != SpoolFlat {
		add(key+".columns", "remove it: ndjson and csv name their columns themselves", "source %q has columns, and its format is %s", name, string(s.Format))
	}
}

// below tells whether a path is dir or below it; both are absolute.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

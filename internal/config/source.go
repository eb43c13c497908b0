package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Source is one place where rows come in, besides the doors of Listen. Which
// keys there are depends on its type: see onlySource.
type Source struct {
	Type     SourceType       `yaml:"type" doc:"Kind of source."`
	URL      URL              `yaml:"url" doc:"Where the source is: flatstore:DIRECTORY or spool:DIRECTORY; spool:DIRECTORY== where a volume must be mounted there."`
	Suffix   Suffix           `yaml:"suffix" doc:"How names of followed files end, behind the table and the writer's number."`
	Columns  map[string]Names `yaml:"columns" omit:"zero" doc:"Columns in the order of flat lines, by table; left out, those of the declared table without the one that the database numbers."`
	Decode   Decode           `yaml:"decode" doc:"What is undone in values: nothing, or what Kamailio's flatstore does to a bar, which makes a bar of a literal %7C too."`
	Start    Start            `yaml:"start" doc:"Where a new source begins: with all that its files hold, or with what is appended from now on."`
	Olddir   string           `yaml:"olddir" doc:"A directory on the same file system that others move rotated files to: files that were followed are followed there."`
	Rotate   SourceRotate     `yaml:"rotate" omit:"zero" doc:"Rotation of followed files by Holdfast itself."`
	Finished Finished         `yaml:"finished" doc:"What becomes of a rotated file that is stored and that nobody can write to: it is kept, removed, or moved to the archive."`
	Archive  string           `yaml:"archive" doc:"Directory on the same file system that finished files are moved to."`
	Poll     Duration         `yaml:"poll" omit:"zero" doc:"How often files are looked at where the system does not tell of a change."`

	Listen         []Endpoint `yaml:"listen" omit:"zero" doc:"Where syslog comes in: udp:, tcp: or tls:, and an address; port 0 lets the system choose."`
	Table          Name       `yaml:"table" omit:"zero" doc:"Table that rows go to. That of syslog is declared where it is not yet; a spool without one has a sub-directory per table."`
	Allow          []Network  `yaml:"allow" omit:"zero" doc:"Networks that may send syslog; all when left out, which only addresses of this machine may be."`
	MaxLine        Size       `yaml:"max_line" omit:"zero" doc:"Longest message of syslog; of a longer one only the beginning is kept, as a reject."`
	MaxConnections int        `yaml:"max_connections" omit:"zero" doc:"Connections of syslog at the same time."`

	Layout   Layout      `yaml:"layout" omit:"zero" doc:"Where complete files of a spool are: plain, in any of its directories without a leading dot or .tmp at the end of the name; maildir, in directories called new."`
	Format   SpoolFormat `yaml:"format" omit:"zero" doc:"Format of the files of a spool."`
	Symlinks Symlinks    `yaml:"symlinks" omit:"zero" doc:"What a symbolic link in a spool is: refused, or its text is taken as a file's content. It is never followed."`
	MaxFile  Size        `yaml:"max_file" omit:"zero" doc:"Largest file of a spool; larger ones are set aside."`
	Spare    URL         `yaml:"spare" omit:"zero" doc:"Second directory of a spool, written like url, which holdfast spool switch lets take new files while the first is drained."`
	Intake   string      `yaml:"intake" omit:"zero" doc:"Symbolic link to the one of url and spare that takes new files: writers write through it, and the server alone makes and replaces it."`
}

// SourceRotate says how a source's files are rotated.
type SourceRotate struct {
	Every   Days  `yaml:"every" omit:"zero" doc:"Age at which a followed file is renamed and its writer told to open another."`
	Size    Size  `yaml:"size" omit:"zero" doc:"Size at which that happens."`
	RPC     RPC   `yaml:"rpc" doc:"Control socket of Kamailio that is told flatstore.k_rotate: jsonrpc:SOCKET or binrpc:SOCKET."`
	Command Names `yaml:"command" omit:"zero" doc:"A command and its arguments that is run instead of rpc."`
}

// onlySource names the keys that some types of sources have; all others have
// them all.
var onlySource = map[string][]SourceType{
	"url":      {Flatstore, Spool},
	"suffix":   {Flatstore},
	"decode":   {Flatstore},
	"columns":  {Flatstore, Spool},
	"start":    {Flatstore},
	"olddir":   {Flatstore},
	"rotate":   {Flatstore},
	"finished": {Flatstore},
	"archive":  {Flatstore},
	"poll":     {Flatstore, Spool},

	"listen":          {Syslog},
	"table":           {Syslog, Spool},
	"allow":           {Syslog},
	"max_line":        {Syslog},
	"max_connections": {Syslog},

	"layout":   {Spool},
	"format":   {Spool},
	"symlinks": {Spool},
	"max_file": {Spool},
	"spare":    {Spool},
	"intake":   {Spool},
}

// sourceSchemes are how the url of each type of source begins, and what one
// looks like.
var sourceSchemes = map[SourceType]struct{ prefix, example string }{
	Flatstore: {"flatstore:", "flatstore:/var/log/kamailio/acc"},
	Spool:     {"spool:", "spool:/var/spool/holdfast"},
}

// SourceType is a kind of source.
type SourceType string

// The kinds of sources.
const (
	Flatstore SourceType = "flatstore" // flat files of Kamailio or OpenSIPS, followed
	Spool     SourceType = "spool"     // a directory that files are dropped in
	Syslog    SourceType = "syslog"    // RFC 5424 and 3164, over UDP, TCP and TLS
)

var sourceTypes = []string{string(Flatstore), string(Spool), string(Syslog)}

func (t *SourceType) scan(text string) error {
	err := pick("source type", text, sourceTypes)
	if err == nil {
		*t = SourceType(text)
	}
	return err
}

func (*SourceType) shape() map[string]any { return enum(sourceTypes) }

// Decode says what is undone in values.
type Decode string

// DecodeNone leaves values as they stand in the file; DecodeKamailio makes a
// bar of each %7C.
const (
	DecodeNone     Decode = "none"
	DecodeKamailio Decode = "kamailio"
)

var decodes = []string{string(DecodeNone), string(DecodeKamailio)}

func (d *Decode) scan(text string) error {
	err := pick("decode", text, decodes)
	if err == nil {
		*d = Decode(text)
	}
	return err
}

func (*Decode) shape() map[string]any { return enum(decodes) }

// Finished says what becomes of a followed file that nobody needs any more.
type Finished string

// FinishedKeep leaves it, FinishedRemove removes it, FinishedArchive moves it.
const (
	FinishedKeep    Finished = "keep"
	FinishedRemove  Finished = "remove"
	FinishedArchive Finished = "archive"
)

var finishes = []string{string(FinishedKeep), string(FinishedRemove), string(FinishedArchive)}

func (f *Finished) scan(text string) error {
	err := pick("finished", text, finishes)
	if err == nil {
		*f = Finished(text)
	}
	return err
}

func (*Finished) shape() map[string]any { return enum(finishes) }

// Suffix is how names of files end.
type Suffix string

func (s *Suffix) scan(text string) error {
	if text == "" || len(text) > 32 || strings.ContainsAny(text, "/\x00\n") {
		return wrong(`like ".log"`, "suffix %q cannot end a file's name", text)
	}
	*s = Suffix(text)
	return nil
}

func (*Suffix) shape() map[string]any { return map[string]any{"type": "string", "pattern": "^[^/]+$"} }

// RPC is a control socket: jsonrpc: or binrpc:, and a path.
type RPC string

func (r *RPC) scan(text string) error {
	kind, path, ok := strings.Cut(text, ":")
	if !ok || kind != "jsonrpc" && kind != "binrpc" || !strings.HasPrefix(path, "/") {
		return wrong(`like "jsonrpc:/run/kamailio/kamailio_rpc.sock" or "binrpc:/run/kamailio/kamailio_ctl"`, "rpc %q is no control socket", text)
	}
	*r = RPC(text)
	return nil
}

func (*RPC) shape() map[string]any {
	return map[string]any{"type": "string", "pattern": "^(jsonrpc|binrpc):/"}
}

// defaultPoll is how late a change shows where the system tells of none.
const defaultPoll = Duration(time.Second)

func (c *Config) settleSource(key string, s *Source) {
	if s.Type == Syslog {
		settleSyslog(s)
	}
	if s.Type == Spool {
		c.settleSpool(key, s)
	}
	if s.Type != Flatstore {
		return
	}
	if s.Suffix == "" {
		s.Suffix = ".log"
	}
	if s.Decode == "" {
		s.Decode = DecodeNone
	}
	if s.Start == "" {
		s.Start = StartOldest
	}
	if s.Finished == "" {
		s.Finished = FinishedKeep
		if s.Archive != "" {
			s.Finished = FinishedArchive
		}
	}
	if !c.has(key + ".poll") {
		s.Poll = defaultPoll
	}
}

// SourceNames returns the sources' names, sorted.
func (c *Config) SourceNames() []string { return names(c.Sources) }

// Directory returns where the source is, where that is a directory.
func (s *Source) Directory() string {
	return strings.TrimSuffix(strings.TrimPrefix(string(s.URL), sourceSchemes[s.Type].prefix), s.mounted())
}

func (c *Config) judgeSources(add report) {
	places := map[string]string{}
	for _, name := range c.SourceNames() {
		s, key := c.Sources[name], "sources."+name
		if s.Type == "" {
			add(key, `add "type: flatstore", "type: spool" or "type: syslog"`, "source %q has no type", name)
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(onlySource)) {
			if c.has(key+"."+k) && !slices.Contains(onlySource[k], s.Type) {
				add(key+"."+k, "remove it", "%q is not for a source of type %q", k, string(s.Type))
			}
		}
		switch s.Type {
		case Flatstore:
			c.judgeFlatstore(add, key, name, places)
		case Spool:
			c.judgeSpool(add, key, name, places)
		case Syslog:
			c.judgeSyslog(add, key, name)
		}
	}
}

// judgeFlatstore judges a source of followed files.
func (c *Config) judgeFlatstore(add report, key, name string, places map[string]string) {
	s, form := c.Sources[name], sourceSchemes[Flatstore]
	dir, ok := strings.CutPrefix(string(s.URL), form.prefix)
	if !ok {
		add(key+".url", fmt.Sprintf("write it like %q", form.example), "source %q does not say which directory it is", name)
		return
	}
	if err := checkPath(dir); err != nil {
		add(key+".url", fmt.Sprintf("write it like %q", form.example), "%s", err)
	}
	if other, taken := places[absolute(dir)]; taken {
		add(key+".url", "follow each directory once", "source %q follows the directory that source %q does, and each row would be stored twice", name, other)
	}
	places[absolute(dir)] = name
	for _, k := range c.SinkNames() {
		if sink := c.Sinks[k]; sink.Type == Flat && absolute(sink.Directory()) == absolute(dir) {
			add(key+".url", "let the sink write elsewhere", "source %q follows the directory that sink %q writes to, so that rows would go round for ever", name, k)
		}
	}
	if s.Finished == FinishedArchive && s.Archive == "" {
		add(key+".finished", `add "archive: DIRECTORY"`, "source %q has no archive to move files to", name)
	}
	if s.Archive != "" && (s.Finished != FinishedArchive || absolute(s.Archive) == absolute(dir)) {
		add(key+".archive", `it goes with "finished: archive", and is another directory`, "source %q cannot use its archive", name)
	}
	told := s.Rotate.RPC != "" || len(s.Rotate.Command) > 0
	switch {
	case s.Rotate.RPC != "" && len(s.Rotate.Command) > 0:
		add(key+".rotate.command", "remove one of them", "source %q has both an rpc and a command to rotate with", name)
	case (s.Rotate.Every > 0 || s.Rotate.Size > 0) && !told:
		add(key+".rotate", `add "rpc: jsonrpc:/run/kamailio/kamailio_rpc.sock"`, "source %q cannot tell its writers to open other files", name)
	}
	for _, table := range slices.Sorted(maps.Keys(s.Columns)) {
		seen := map[Name]bool{}
		for i, column := range s.Columns[table] {
			if seen[column] {
				add(fmt.Sprintf("%s.columns.%s.%d", key, table, i), "name each column once", "column %q of table %q is there twice", string(column), table)
			}
			seen[column] = true
		}
	}
}

// LineColumns returns the columns in the order of a source's lines, by table:
// those that the source names, and of other declared tables all but the ones
// that the database numbers.
func (c *Config) LineColumns(s *Source) (map[string][]string, error) {
	out := map[string][]string{}
	declared, err := c.Declared()
	if err != nil {
		return nil, err
	}
	for _, t := range declared {
		for _, column := range t.Columns {
			if !numbered(column.Type) && !column.Generated {
				out[t.Name] = append(out[t.Name], column.Name)
			}
		}
	}
	for table, named := range s.Columns {
		out[table] = nil
		for _, n := range named {
			out[table] = append(out[table], string(n))
		}
	}
	return out, nil
}

// numbered tells whether the database numbers a column of a type itself.
func numbered(kind string) bool {
	return slices.Contains([]string{"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"}, strings.ToLower(kind))
}

// check looks at the paths that the source names.
func (s *Source) check(bad report) {
	if s.Type == Syslog {
		return
	}
	for key, dir := range map[string]string{"url": s.Directory(), "olddir": s.Olddir, "archive": s.Archive} {
		if dir == "" || s.Spare != "" { // one of a pair may be away
			continue
		}
		f, err := os.Open(dir)
		if err == nil {
			info, e := f.Stat()
			if err = errors.Join(e, f.Close()); err == nil && !info.IsDir() {
				err = errors.New("it is no directory")
			}
		}
		if err != nil {
			bad(key, "make it, and let the user that the server runs as read it", "directory %q cannot be followed: %s", filepath.Clean(dir), err)
		}
	}
}

func cloneSources(m map[string]*Source) map[string]*Source {
	out := make(map[string]*Source, len(m))
	for name, s := range m {
		c := *s
		c.Listen, c.Allow = slices.Clone(s.Listen), slices.Clone(s.Allow)
		out[name] = &c
	}
	return out
}

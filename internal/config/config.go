// Package config turns a strict YAML file into the settings that a server
// runs with, and tells exactly where and why a file is refused.
//
// Nothing is guessed: an unknown key, a size without its unit or a path that
// cannot be is a Problem with file, line, column, the value and what was
// meant. What the file leaves out is filled in, so that a Config read by
// another package has no unset field. There is no substitution of environment
// variables inside the file: a value stands for itself.
package config

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
)

// maxFile bounds a configuration file, in bytes. Large ones are a few KiB; the
// bound is there because the parser's memory and recursion grow with the file.
const maxFile = 256 << 10

// Config is what a server runs with. It is complete: Load and Default fill in
// every default. Read it, do not change it, except through Override.
type Config struct {
	Path           string             `yaml:"-"` // the file that it was read from; "" without one
	Data           string             `yaml:"data" doc:"Directory of the journal, the lock and the admin socket."`
	Listen         Listen             `yaml:"listen" doc:"Addresses that clients connect to."`
	TLS            TLS                `yaml:"tls" omit:"zero" doc:"How connections are encrypted."`
	Users          map[string]*User   `yaml:"users" omit:"zero" doc:"Who may log in, by name, and write to what. With one user or token, nobody else may do anything."`
	Tokens         map[string]*Token  `yaml:"tokens" omit:"zero" doc:"Who may use HTTP, by a name of your choice, and write to what."`
	HTTP           Web                `yaml:"http" doc:"How rows are taken over HTTP."`
	Profile        Profile            `yaml:"profile" doc:"Ready tables of a program; what is declared below adds to them."`
	Tables         Tables             `yaml:"tables" doc:"How tables come to be known."`
	Streams        map[string]*Stream `yaml:"streams" doc:"Streams by name; main takes every table that no other stream names."`
	Buckets        map[string]*Bucket `yaml:"buckets" omit:"zero" doc:"How the buckets that cold names are reached, by name."`
	Sinks          map[string]*Sink   `yaml:"sinks" doc:"Destinations by name; without any, SQLite at <data>/holdfast.db."`
	Sources        map[string]*Source `yaml:"sources" omit:"zero" doc:"Places where rows come in besides the doors, by name."`
	Drain          Duration           `yaml:"drain" doc:"How long a stop goes on delivering, at most."`
	Scrub          Rate               `yaml:"scrub" doc:"How fast each stream's sealed segments are read again in the background to find damage, per second; or off."`
	ScrubPause     Days               `yaml:"scrub_pause" doc:"From the end of one such round to the next."`
	Roll           Roll               `yaml:"roll" doc:"How rolls are carried out."`
	ManifestDir    string             `yaml:"manifest_dir" omit:"zero" doc:"Directory where the manifests of segments are kept that are gone, so that holdfast manifest search finds them."`
	Schedule       []Scheduled        `yaml:"schedule" doc:"Rolls and closings that are done again and again: lines of the manual, or {cron: ..., run: ...}."`
	Families       map[string]*Family `yaml:"families" omit:"zero" doc:"Families of SQL tables that holdfast archive files away, by name."`
	Log            Log                `yaml:"log" doc:"The server's log, on standard error."`
	MaxConnections int                `yaml:"max_connections" doc:"Client connections at the same time, all doors together."`
	Limits         Limits             `yaml:"limits" doc:"What clients can take from each other, and what hostile ones can."`

	given map[string]position // where each value of the file stands, by dotted key
}

// Listen holds the addresses of the doors. Port 0 lets the system choose.
type Listen struct {
	PG   Address `yaml:"pg" doc:"PostgreSQL wire."`
	HTTP Address `yaml:"http" doc:"HTTP: rows, health, metrics, status."`

	MySQL Address `yaml:"mysql" omit:"zero" doc:"MySQL's protocol; off when left out."`
}

// Tables says how tables come to be known.
type Tables struct {
	Auto     bool                 `yaml:"auto" doc:"Create an unknown table on its first insert instead of refusing it with 42P01."`
	Zone     TimeZone             `yaml:"zone" doc:"Zone of times that writers send without one, for columns of type timestamptz; a PostgreSQL client's SET TimeZone goes before."`
	Dedupe   map[string]*Dedupe   `yaml:"dedupe" omit:"zero" doc:"Tables whose repeats are dropped, by name: rows that a client sends again because no answer came."`
	Declared map[string]*Declared `yaml:"declared" omit:"zero" doc:"Tables that are known from the start, by name; holdfast profile writes them."`
}

// Declared is one table that is known from the start.
type Declared struct {
	Version int      `yaml:"version" omit:"zero" doc:"What a program is told that asks for the version of the table."`
	Columns []Column `yaml:"columns" doc:"Columns as CREATE TABLE has them; default alone says that the database has one."`
}

// Stream is one FIFO of rows with its directory and budget.
type Stream struct {
	Tables  []Glob   `yaml:"tables" doc:"Tables that go here; * and ? stand for any characters and any one."`
	Hot     Hot      `yaml:"hot" doc:"Directories and their budgets: path, path=size, or path==size where the directory must be there already; several with ; between."`
	History Size     `yaml:"history" doc:"Delivered rows still kept."`
	MinFree MinFree  `yaml:"min_free" doc:"Space left free on the volume: a size, a percentage, or min(percentage, size)."`
	OnFull  OnFull   `yaml:"on_full" doc:"What happens when there is no room after wait."`
	Wait    Duration `yaml:"wait" doc:"How long writers wait for room before they are refused."`
	Keep    Keep     `yaml:"keep" doc:"How long delivered rows stay: until they are rolled, or not at all."`

	Warm Hot `yaml:"warm" omit:"zero" doc:"Directories and their budgets, as in hot, where segments are moved when hot is full: packed with zstd, and read like all others."`
	Cold Hot `yaml:"cold" omit:"zero" doc:"A directory, as in hot, or a bucket, s3://bucket/prefix, where segments are copied, packed, before they leave; from a directory other programs take them."`

	OnColdFull OnColdFull `yaml:"on_cold_full" omit:"zero" doc:"What becomes of segments that the cold tier does not take: block (nothing leaves, and is the default), drop (they leave without a copy) or hold (one that cannot be copied stays)."`

	Link        Link        `yaml:"link" omit:"zero" doc:"What ties its rows to those of other streams for rolling: a column with a rising id, or time."`
	Parent      StreamName  `yaml:"parent" omit:"zero" doc:"The stream whose rows its rows belong to, with the same link."`
	MaxAge      Age         `yaml:"max_age" omit:"zero" doc:"Segments that were sealed longer ago leave, as far as every sink has them."`
	KeepAtLeast KeepAtLeast `yaml:"keep_at_least" omit:"zero" doc:"What no limit and no roll removes."`
	Index       StreamIndex `yaml:"index" omit:"zero" doc:"Columns by which cat --where finds rows without reading every segment."`
}

// KeepAtLeast is what of a stream no limit and no roll removes, the newest
// segments first.
type KeepAtLeast struct {
	Files int  `yaml:"files" omit:"zero" doc:"So many sealed segments."`
	Bytes Size `yaml:"bytes" omit:"zero" doc:"So many bytes of them."`
	Age   Age  `yaml:"age" omit:"zero" doc:"Those with rows received since then."`
}

// Roll says how rolls are carried out.
type Roll struct {
	Undo   Age  `yaml:"undo" doc:"How long a roll by message can be undone; its files take room until then, or until that is needed."`
	Shrink bool `yaml:"shrink" omit:"zero" doc:"Take sizes in hot into use that are more than a tenth smaller than before; without it they are ignored."`
}

// Log says how the server's log is written.
type Log struct {
	Format LogFormat `yaml:"format" doc:"One line of words, or one JSON object, per event."`
	Level  LogLevel  `yaml:"level" doc:"The least important event that is written."`
}

// Default returns what a server runs with when there is no file: one stream,
// the default sink, loopback addresses, and tables created on first insert.
func Default() *Config {
	c := base()
	c.Tables.Auto = true
	c.settle()
	return c
}

// base returns the defaults that do not depend on other values.
func base() *Config {
	return &Config{
		Data:           "./holdfast-data",
		Tables:         Tables{Zone: defaultZone},
		Listen:         Listen{PG: "127.0.0.1:5433", HTTP: "127.0.0.1:8433"},
		HTTP:           defaultWeb,
		Drain:          defaultDrain,
		Scrub:          defaultScrub,
		ScrubPause:     defaultScrubPause,
		Roll:           Roll{Undo: defaultUndo},
		Log:            Log{Format: "text", Level: "info"},
		MaxConnections: 256,
		Limits:         defaultLimits(),
		given:          map[string]position{},
	}
}

// Load reads and judges the file. The error is Problems where the file's
// content is at fault, all of them in the order of the file. It looks at no
// other path than file; Check does.
func Load(file string) (*Config, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration %q: %w", file, err)
	}
	return Parse(file, text)
}

// Parse is Load for a text that is in memory; name stands for the file in
// messages.
func Parse(name string, text []byte) (*Config, error) {
	d := &decoder{file: name, config: base()}
	d.config.Path = name
	d.decode(text)
	if len(d.problems) > 0 {
		return nil, d.problems.sorted()
	}
	c := d.config
	c.settle()
	if p := c.judge(); len(p) > 0 {
		return nil, p.sorted()
	}
	return c, nil
}

// Override is what flags and the environment say instead of the file. Empty
// fields leave the file's word.
type Override struct {
	Data  string
	PG    string // address of the PostgreSQL wire
	HTTP  string // address of HTTP
	MySQL string // address of MySQL's protocol
	Log   string // a format, a level, or both with a comma between
	Force bool   // takes sizes into use that are more than a tenth smaller
}

// Override applies o, derives again what depends on it, and judges the whole.
// On an error c is unchanged.
func (c *Config) Override(o Override) error {
	n := *c
	n.Streams, n.Sinks, n.Sources = cloneStreams(c.Streams), cloneSinks(c.Sinks), cloneSources(c.Sources)
	if o.Data != "" {
		if err := checkPath(o.Data); err != nil {
			return fromFlag(err)
		}
		n.Data = o.Data
	}
	if o.PG != "" {
		n.Listen.PG = Address(o.PG)
	}
	if o.HTTP != "" {
		n.Listen.HTTP = Address(o.HTTP)
	}
	if o.MySQL != "" {
		if err := n.Listen.MySQL.scan(o.MySQL); err != nil {
			return fromFlag(err)
		}
	}
	n.Roll.Shrink = n.Roll.Shrink || o.Force
	if err := n.Log.set(o.Log); err != nil {
		return fromFlag(err)
	}
	for _, a := range []Address{n.Listen.PG, n.Listen.HTTP} {
		if err := new(Address).scan(string(a)); err != nil {
			return fromFlag(err)
		}
	}
	n.settle()
	if p := n.judge(); len(p) > 0 {
		return p.sorted()
	}
	*c = n
	return nil
}

// Route returns the stream that takes table: the one that names it, else the
// one with the longest matching pattern (of equally long ones the first by
// name), else main.
func (c *Config) Route(table string) string {
	best, length := MainStream, -1
	for _, name := range c.StreamNames() {
		for _, g := range c.Streams[name].Tables {
			if string(g) == table {
				return name
			}
			if ok, _ := path.Match(string(g), table); ok && len(g) > length {
				best, length = name, len(g)
			}
		}
	}
	return best
}

// StreamNames returns the streams' names, sorted.
func (c *Config) StreamNames() []string { return names(c.Streams) }

// SinkNames returns the sinks' names, sorted.
func (c *Config) SinkNames() []string { return names(c.Sinks) }

// AdminSocket returns the path of the socket through which verbs given --data
// reach the running server.
func (c *Config) AdminSocket() string { return AdminSocket(c.Data) }

// AdminSocket returns the path of the admin socket of a data directory.
func AdminSocket(data string) string { return filepath.Join(data, "admin.sock") }

func names[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

func cloneStreams(m map[string]*Stream) map[string]*Stream {
	out := make(map[string]*Stream, len(m))
	for name, s := range m {
		c := *s
		c.Tables = slices.Clone(s.Tables)
		out[name] = &c
	}
	return out
}

func cloneSinks(m map[string]*Sink) map[string]*Sink {
	out := make(map[string]*Sink, len(m))
	for name, s := range m {
		c := *s
		c.Streams = slices.Clone(s.Streams)
		out[name] = &c
	}
	return out
}

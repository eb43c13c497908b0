package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// MainStream is the stream that takes every table that no other stream names.
const MainStream = "main"

// RejectsStream is where Holdfast keeps rejects. It takes no table, and no sink
// gets it.
const RejectsStream = "rejects"

// LedgerStream is where Holdfast writes down what was removed, by which rule.
// It is there where the file names it, or where anything is to roll.
const LedgerStream = "ledger"

// ownStream tells whether Holdfast alone writes to a stream.
func ownStream(name string) bool { return name == RejectsStream || name == LedgerStream }

// rolls tells whether the file asks for a roll of any kind.
func (c *Config) rolls() bool {
	for _, s := range c.Streams {
		if s.Link != "" || s.MaxAge > 0 || s.OnFull == DropOldest {
			return true
		}
	}
	return len(c.Schedule) > 0
}

// DefaultSink is the sink that there is when none is configured.
const DefaultSink = "default"

const (
	defaultDrain        = Duration(10 * time.Second)
	defaultWait         = Duration(5 * time.Second)
	defaultHistory Size = 1 << 30
	maxConnections      = 10000

	defaultScrub      Rate = 8 << 20 // a TiB in a day and a half, and hardly felt by a disk
	defaultScrubPause      = Days(24 * time.Hour)

	defaultRejects Size = 1 << 30

	defaultSinkFile = "holdfast.db"
)

// settle fills in what was not given and depends on other values. It can run
// again after those change.
func (c *Config) settle() {
	c.settleFamilies()
	if c.Streams == nil {
		c.Streams = map[string]*Stream{}
	}
	for _, always := range []string{MainStream, RejectsStream} {
		if c.Streams[always] == nil {
			c.Streams[always] = &Stream{}
		}
	}
	if c.Streams[LedgerStream] == nil && c.rolls() {
		c.Streams[LedgerStream] = &Stream{}
	}
	for name, s := range c.Streams {
		c.settleStream("streams."+name, name, s)
	}
	c.settleDedupe()
	if !c.hasSinks() {
		c.Sinks = map[string]*Sink{DefaultSink: {Type: SQLite, File: filepath.Join(c.Data, defaultSinkFile)}}
	}
	for name, s := range c.Sinks {
		c.settleSink("sinks."+name, s)
	}
	for name, s := range c.Sources {
		c.settleSource("sources."+name, s)
	}
}

func (c *Config) settleStream(key, name string, s *Stream) {
	if !c.has(key + ".hot") {
		s.Hot = Hot{Place: Place{Path: filepath.Join(c.Data, "streams", name)}}
		if ownStream(name) {
			s.Hot.Size = defaultRejects
		}
	}
	if s.OnFull == "" {
		s.OnFull = Refuse
	}
	if s.Keep == "" {
		s.Keep = KeepRolled
	}
	if !c.has(key + ".wait") {
		s.Wait = defaultWait
	}
	if !c.has(key + ".min_free") {
		s.MinFree = defaultMinFree
	}
	if c.has(key + ".history") {
		return
	}
	switch {
	case s.Keep == KeepDelivered:
		s.History = 0
	case s.Warm.Path != "":
		s.History = s.tiersHistory()
	case s.Hot.Budget() > 0:
		s.History = s.Hot.Budget()
	default:
		s.History = defaultHistory
	}
}

// tiersHistory is the history of a stream with a warm tier: all that there is
// room for.
func (s *Stream) tiersHistory() Size {
	return max(s.Hot.Budget()+s.Warm.Budget(), defaultHistory)
}

// hasSinks tells whether the file configures any sink.
func (c *Config) hasSinks() bool {
	for key := range c.given {
		if strings.HasPrefix(key, "sinks.") {
			return true
		}
	}
	return false
}

func (c *Config) has(key string) bool {
	_, ok := c.given[key]
	return ok
}

// judge returns what is wrong with values that are each fine alone.
func (c *Config) judge() (out Problems) {
	add := func(key, hint, message string, args ...any) {
		out = append(out, c.problem(key, hint, fmt.Sprintf(message, args...)))
	}
	if c.MaxConnections < 1 || c.MaxConnections > maxConnections {
		add("max_connections", fmt.Sprintf("from 1 to %d", maxConnections), "max_connections %q is out of range", fmt.Sprint(c.MaxConnections))
	}
	if c.Listen.PG == c.Listen.HTTP && !strings.HasSuffix(string(c.Listen.PG), ":0") {
		add("listen.http", "give each its own port", "pg and http cannot both listen on %q", string(c.Listen.HTTP))
	}
	if m := c.Listen.MySQL; (m == c.Listen.PG || m == c.Listen.HTTP) && !strings.HasSuffix(string(m), ":0") {
		add("listen.mysql", "give each its own port", "mysql cannot listen on %q, where another door does", string(m))
	}
	if strings.ContainsAny(c.Data, "=;") {
		add("data", "choose a path without = and ;", "data %q holds a character that means something else in hot", c.Data)
	}
	c.judgeLimits(add)
	c.judgeAccess(add)
	c.judgeWeb(add)
	c.judgeBuckets(add)
	c.judgeDeclared(add)
	c.judgeDedupe(add)
	c.judgeStreams(add)
	c.judgeRolls(add)
	c.judgeManifests(add)
	c.judgeIndexes(add)
	c.judgeSinks(add)
	c.judgeSources(add)
	c.judgeFamilies(add)
	return out
}

// report adds a problem at the place of key.
type report func(key, hint, message string, args ...any)

func (c *Config) judgeStreams(add report) {
	owner := map[Glob]string{}
	for n, name := range c.StreamNames() {
		s, key := c.Streams[name], "streams."+name
		switch {
		case name == MainStream && len(s.Tables) > 0:
			add(key+".tables", "name them in another stream, or remove the key", "%q takes every table that no other stream names, so it cannot name any", name)
		case ownStream(name):
			c.judgeOwn(add, name)
		case name != MainStream && len(s.Tables) == 0:
			add(key, `add "tables: [...]"`, "stream %q names no table, so nothing would ever go there", name)
		}
		for i, g := range s.Tables {
			if other, taken := owner[g]; taken && name != MainStream {
				add(fmt.Sprintf("%s.tables.%d", key, i), "a table goes to one stream", "table %q is already named by stream %q", string(g), other)
			}
			owner[g] = name
		}
		if s.Keep == KeepDelivered && s.History > 0 {
			add(key+".history", `remove one of them`, "history %q cannot be kept with \"keep: delivered\"", s.History.String())
		}
		if most := s.Hot.Budget(); most > 0 && s.History > most && s.Warm.Path == "" {
			add(key+".history", fmt.Sprintf("at most %s", most), "history %q does not fit into the budget of %q", s.History.String(), most.String())
		}
		c.judgePlaces(add, n, name)
	}
}

// Places returns all directories of the stream, of every tier.
func (s *Stream) Places() []Place {
	if s.Warm.Path == "" {
		return s.Hot.Places()
	}
	return append(s.Hot.Places(), s.Warm.Places()...)
}

// judgePlaces sees that no directory of the n-th stream is in the way of another.
func (c *Config) judgePlaces(add report, n int, name string) {
	s, key := c.Streams[name], "streams."+name
	if s.Warm.Path != "" {
		switch {
		case ownStream(name):
			add(key+".warm", "it has hot, min_free and wait", "%q is written by Holdfast alone, and has no other tier", name)
		case s.Keep == KeepDelivered:
			add(key+".warm", "remove one of them", "\"keep: delivered\" keeps nothing that could be moved")
		case c.has(key+".history") && s.History != s.tiersHistory(): // which "config print" writes
			add(key+".history", "give sizes in hot and warm", "with a warm tier the sizes of the tiers say what is kept, and nothing else")
		}
	}
	c.judgeCold(add, name)
	for i, p := range s.Places() {
		dir := absolute(p.Path)
		for _, other := range c.StreamNames()[:n] {
			for _, o := range c.Streams[other].Places() {
				d := absolute(o.Path)
				if within(dir, d) || within(d, dir) && (!ownStream(name) || c.has(key+".hot")) { // one may hold the data directory
					add(key+".hot", "give each stream a directory of its own", "directory %q overlaps with that of stream %q", p.Path, other)
				}
			}
		}
		for _, o := range s.Places()[:i] {
			if d := absolute(o.Path); within(dir, d) || within(d, dir) {
				add(key+".hot", "name directories beside each other", "directory %q overlaps with %q", p.Path, o.Path)
			}
		}
		if dir == absolute(c.Data) {
			add(key+".hot", `leave "hot" out for the default`, "directory %q is the data directory itself", p.Path)
		}
	}
}

// judgeManifests sees that manifests are kept where no segments are, among
// which they would be taken for what nobody knows.
func (c *Config) judgeManifests(add report) {
	if c.ManifestDir == "" {
		return
	}
	dir := absolute(string(c.ManifestDir))
	if dir == absolute(c.Data) {
		add("manifest_dir", "name a directory of their own", "directory %q is the data directory itself", string(c.ManifestDir))
	}
	for _, name := range c.StreamNames() {
		for _, p := range c.Streams[name].Places() {
			if within(absolute(p.Path), dir) {
				add("manifest_dir", "name a directory of their own", "directory %q is in that of stream %q, %q", string(c.ManifestDir), name, p.Path)
			}
		}
	}
}

// judgeOwn sees that a stream that Holdfast alone writes to is only given room.
func (c *Config) judgeOwn(add report, name string) {
	s, key := c.Streams[name], "streams."+name
	const hint = "it has hot, min_free and wait"
	if len(s.Tables) > 0 {
		add(key+".tables", hint, "%q takes no table: Holdfast alone writes to it", name)
	}
	if s.Keep != KeepRolled || c.has(key+".history") && s.History != max(s.Hot.Budget(), defaultHistory) && s.History != s.Hot.Budget() {
		add(key, hint, "%q keeps rejects until they are settled, so it has no history and no other keep", name)
	}
}

// problem makes a Problem at the place of key, or of what holds it.
func (c *Config) problem(key, hint, message string) *Problem {
	p := &Problem{Message: message, Hint: hint}
	for key != "" {
		if where, ok := c.given[key]; ok {
			p.File, p.Line, p.Column = c.Path, where.line, where.column
			return p
		}
		key = key[:max(0, strings.LastIndexByte(key, '.'))]
	}
	p.File = c.Path
	return p
}

// absolute returns p made absolute, or p itself where the working directory is
// gone.
func absolute(p string) string {
	if a, err := filepath.Abs(p); err == nil {
		return a
	}
	return filepath.Clean(p)
}

// within tells whether child is dir or below it.
func within(dir, child string) bool {
	rel, err := filepath.Rel(dir, child)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// MainStream is the stream that takes every table that no other stream names.
const MainStream = "main"

// DefaultSink is the sink that there is when none is configured.
const DefaultSink = "default"

const (
	defaultDrain        = Duration(10 * time.Second)
	defaultWait         = Duration(5 * time.Second)
	defaultHistory Size = 1 << 30
	maxConnections      = 10000

	defaultScrub      Rate = 8 << 20 // a TiB in a day and a half, and hardly felt by a disk
	defaultScrubPause      = Days(24 * time.Hour)

	defaultSinkFile = "holdfast.db"
)

// settle fills in what was not given and depends on other values. It can run
// again after those change.
func (c *Config) settle() {
	if c.Streams == nil {
		c.Streams = map[string]*Stream{}
	}
	if c.Streams[MainStream] == nil {
		c.Streams[MainStream] = &Stream{}
	}
	for name, s := range c.Streams {
		c.settleStream("streams."+name, name, s)
	}
	if !c.hasSinks() {
		c.Sinks = map[string]*Sink{DefaultSink: {Type: SQLite, File: filepath.Join(c.Data, defaultSinkFile)}}
	}
	for name, s := range c.Sinks {
		if file, ok := strings.CutPrefix(string(s.URL), "sqlite:"); ok && s.Type == SQLite && s.File == "" {
			// From here on the path is the only word for it.
			s.File, s.URL = file, ""
		}
		if s.OnRewind == "" {
			s.OnRewind = StopOnRewind
		}
		if !c.has("sinks." + name + ".streams") {
			s.Streams = c.StreamNames()
		}
	}
}

func (c *Config) settleStream(key, name string, s *Stream) {
	if !c.has(key + ".hot") {
		s.Hot = Hot{Path: filepath.Join(c.Data, "streams", name)}
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
	case s.Hot.Size > 0:
		s.History = s.Hot.Size
	default:
		s.History = defaultHistory
	}
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
	if strings.ContainsAny(c.Data, "=;") {
		add("data", "choose a path without = and ;", "data %q holds a character that means something else in hot", c.Data)
	}
	c.judgeStreams(add)
	c.judgeSinks(add)
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
		if s.Hot.Size > 0 && s.History > s.Hot.Size {
			add(key+".history", fmt.Sprintf("at most %s", s.Hot.Size), "history %q does not fit into the budget of %q", s.History.String(), s.Hot.Size.String())
		}
		dir := absolute(s.Hot.Path)
		for _, other := range c.StreamNames()[:n] {
			if d := absolute(c.Streams[other].Hot.Path); within(d, dir) || within(dir, d) {
				add(key+".hot", "give each stream a directory of its own", "directory %q overlaps with that of stream %q", s.Hot.Path, other)
			}
		}
		if dir == absolute(c.Data) {
			add(key+".hot", `leave "hot" out for the default`, "directory %q is the data directory itself", s.Hot.Path)
		}
	}
}

func (c *Config) judgeSinks(add report) {
	files := map[string]string{}
	for _, name := range c.SinkNames() {
		s, key := c.Sinks[name], "sinks."+name
		if s.Type == "" {
			add(key, `add "type: sqlite"`, "sink %q has no type", name)
			continue
		}
		if s.URL != "" && !strings.HasPrefix(string(s.URL), "sqlite:") {
			add(key+".url", `write it like "sqlite:/var/lib/holdfast/rows.db"`, "the url of sink %q is not one of an sqlite sink", name)
			continue
		}
		if c.has(key+".url") && c.has(key+".path") {
			add(key+".url", "remove one of them", "sink %q has both a path and a url", name)
		}
		if s.File == "" {
			add(key, `add "path: FILE"`, "sink %q does not say where its file is", name)
			continue
		}
		if err := checkPath(s.File); err != nil {
			add(key+".url", "", "%s", err)
		}
		if other, taken := files[absolute(s.File)]; taken {
			add(key, "give each sink a file of its own", "sink %q writes to the file of sink %q, where each row would arrive twice", name, other)
		}
		files[absolute(s.File)] = name
		c.judgeSinkStreams(add, key, s)
	}
}

func (c *Config) judgeSinkStreams(add report, key string, s *Sink) {
	if len(s.Streams) == 0 {
		add(key+".streams", "leave the key out to deliver all of them", "the list of streams is empty, so nothing would ever be delivered")
	}
	for i, stream := range s.Streams {
		at := fmt.Sprintf("%s.streams.%d", key, i)
		if c.Streams[stream] == nil {
			add(at, didYouMean(stream, c.StreamNames()), "stream %q is not configured", stream)
		}
		if slices.Index(s.Streams, stream) < i {
			add(at, "", "stream %q is named twice", stream)
		}
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

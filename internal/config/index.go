package config

import (
	"slices"
	"strings"
	"unicode"
)

// StreamIndex says what of a stream has an index, and where that is.
type StreamIndex struct {
	Columns []IndexColumn `yaml:"columns" omit:"zero" doc:"Columns, of all tables of the stream, that cat --where looks for."`
	Dir     Hot           `yaml:"dir" omit:"zero" doc:"Directory of the slices and their budget: path, path=size or path==size; left out: beside the segments."`
	Warm    Hot           `yaml:"warm" omit:"zero" doc:"Directory where the oldest slices move when the budget is full, and its own budget: path, path=size or path==size; left out: they leave."`
	Size    Size          `yaml:"size" omit:"zero" doc:"Budget of slices beside the segments, which is not part of hot's; left out: no bound."`
}

// Budget returns how many bytes all slices together may take; 0: no bound.
func (i *StreamIndex) Budget() int64 { return int64(max(i.Size, i.Dir.Size)) }

// IndexColumn is the name of a column.
type IndexColumn string

func (c *IndexColumn) scan(text string) error {
	if text == "" || len(text) > 200 || strings.ContainsFunc(text, unicode.IsControl) {
		return wrong("write the name of a column, as its table has it", "%q is not a column", text)
	}
	*c = IndexColumn(text)
	return nil
}

func (*IndexColumn) shape() map[string]any { return map[string]any{"type": "string", "minLength": 1} }

// maxIndexColumns is how many columns of one stream have an index: each makes
// every slice larger.
const maxIndexColumns = 32

// judgeIndexes sees that indexes are of columns, and lie where nothing else
// does.
func (c *Config) judgeIndexes(add report) {
	for n, name := range c.StreamNames() {
		x, key := &c.Streams[name].Index, "streams."+name+".index"
		switch {
		case len(x.Columns) == 0 && (x.Dir.Path != "" || x.Warm.Path != "" || x.Size > 0):
			add(key, `add "columns: [...]"`, "the index of stream %q names no column", name)
		case len(x.Columns) == 0:
			continue
		case ownStream(name):
			add(key, "it has hot, min_free and wait", "%q is written by Holdfast alone, and has no index", name)
		case len(x.Columns) > maxIndexColumns:
			add(key+".columns", "name those that are looked for most", "%d columns are more than %d", len(x.Columns), maxIndexColumns)
		case x.Dir.Path != "" && x.Size > 0:
			add(key+".size", `write it behind the directory: dir: "path=size"`, "the size is for slices beside the segments")
		case len(x.Dir.More) > 0:
			add(key+".dir", "name one", "an index has one directory")
		case len(x.Warm.More) > 0:
			add(key+".warm", "name one", "the warm tier of an index has one directory")
		}
		for i, column := range x.Columns {
			if slices.Contains(x.Columns[:i], column) {
				add(key+".columns", "name each once", "column %q is named twice", string(column))
			}
		}
		c.judgeIndexPlaces(add, n, name)
	}
}

// places returns the directories that the index has for itself, by key.
func (i *StreamIndex) places() map[string]Place {
	all := map[string]Place{}
	if i.Dir.Path != "" {
		all["dir"] = i.Dir.Place
	}
	if i.Warm.Path != "" {
		all["warm"] = i.Warm.Place
	}
	return all
}

// judgeIndexPlaces sees that no directory of the n-th stream's index is in the
// way of another.
func (c *Config) judgeIndexPlaces(add report, n int, name string) {
	x, key := &c.Streams[name].Index, "streams."+name+".index."
	places := x.places()
	for _, which := range []string{"dir", "warm"} {
		p, given := places[which]
		if !given {
			continue
		}
		dir := absolute(p.Path)
		for i, other := range c.StreamNames() {
			taken := false
			for _, o := range c.Streams[other].Places() {
				taken = taken || overlap(dir, absolute(o.Path))
			}
			if i < n {
				for _, o := range c.Streams[other].Index.places() {
					taken = taken || overlap(dir, absolute(o.Path))
				}
			}
			if taken {
				add(key+which, "give each a directory of its own", "directory %q overlaps with that of stream %q or its index", p.Path, other)
			}
		}
	}
	if x.Dir.Path != "" && x.Warm.Path != "" && overlap(absolute(x.Dir.Path), absolute(x.Warm.Path)) {
		add(key+"warm", "give it a directory of its own, on another volume", "the warm tier %q overlaps with %q", x.Warm.Path, x.Dir.Path)
	}
}

// overlap tells whether one directory is the other, or in it.
func overlap(a, b string) bool { return within(a, b) || within(b, a) }

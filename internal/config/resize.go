package config

import (
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/roll"
)

// SamePlaces tells whether a stream lies in the same directories as another, of
// whatever sizes.
func (s *Stream) SamePlaces(o *Stream) bool {
	same := func(a, b Hot) bool {
		return slices.EqualFunc(a.Places(), b.Places(), func(a, b Place) bool { return a.Path == b.Path && a.Exist == b.Exist })
	}
	return same(s.Hot, o.Hot) && same(s.Warm, o.Warm) && same(s.Index.Dir, o.Index.Dir) && same(s.Index.Warm, o.Index.Warm)
}

// resized tells whether a change is one of sizes alone, which a running server
// takes over. Streams of Holdfast's own are not rolled, and need a restart.
func resized(key, old, new string) bool {
	stream, of, ok := strings.Cut(strings.TrimPrefix(key, "streams."), ".")
	if !ok || ownStream(stream) || of != "hot" && of != "warm" && of != "index.dir" && of != "index.warm" {
		return false
	}
	a, aerr := roll.ParseBudget(unquoted(old))
	b, berr := roll.ParseBudget(unquoted(new))
	return aerr == nil && berr == nil && slices.EqualFunc(a, b, func(a, b roll.Place) bool { return a.Path == b.Path && a.Exist == b.Exist })
}

// unquoted returns a value without the quotes that Print gives it.
func unquoted(text string) string {
	if plain, err := strconv.Unquote(text); err == nil {
		return plain
	}
	return text
}

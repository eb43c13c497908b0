package daemon

import (
	"holdfast"
	"holdfast/internal/config"
)

// streamOf returns a stream as the database takes it, without its cold tier.
func streamOf(name string, s *config.Stream) holdfast.Stream {
	one := holdfast.Stream{Name: name, Dir: s.Hot.Path, Exists: s.Hot.Exist, Size: int64(s.Hot.Size), Limits: limits(s), Link: string(s.Link), Parent: string(s.Parent)}
	for _, p := range s.Hot.More {
		one.More = append(one.More, holdfast.Directory{Dir: p.Path, Exists: p.Exist, Size: int64(p.Size)})
	}
	if s.Warm.Path != "" {
		for _, p := range s.Warm.Places() {
			one.Warm = append(one.Warm, holdfast.Directory{Dir: p.Path, Exists: p.Exist, Size: int64(p.Size)})
		}
	}
	one.Index = holdfast.Index{Dir: s.Index.Dir.Path, Exists: s.Index.Dir.Exist, Budget: s.Index.Budget(), Warm: holdfast.Directory{Dir: s.Index.Warm.Path, Exists: s.Index.Warm.Exist, Size: int64(s.Index.Warm.Size)}}
	for _, column := range s.Index.Columns {
		one.Index.Columns = append(one.Index.Columns, string(column))
	}
	for _, g := range s.Tables {
		one.Tables = append(one.Tables, string(g))
	}
	return one
}

// resize takes over sizes of directories. Where a directory has come or gone a
// stream stays as it is until the restart that this needs.
func (s *server) resize(next *config.Config) {
	var streams []holdfast.Stream
	for _, name := range s.cfg.StreamNames() {
		was, is := s.cfg.Streams[name], next.Streams[name]
		own := name == holdfast.RejectsStream || name == holdfast.LedgerStream
		if is != nil && !own && was.SamePlaces(is) {
			was.Hot, was.Warm, was.Index.Dir, was.Index.Warm, was.Index.Size = is.Hot, is.Warm, is.Index.Dir, is.Index.Warm, is.Index.Size
		}
		streams = append(streams, streamOf(name, was))
	}
	s.cfg.Roll.Shrink = next.Roll.Shrink
	if err := s.db.Resize(streams, next.Roll.Shrink); err != nil {
		s.log.Error("reload: sizes stay as they were", "error", err)
	}
}

package config

import "strings"

// OnColdFull says what becomes of segments that are to leave for a cold tier
// which does not take them.
type OnColdFull string

// ColdBlock lets nothing leave; ColdDrop removes them, as without a cold tier;
// ColdHold keeps one that cannot be copied, as under a hold, and lets others leave.
const (
	ColdBlock OnColdFull = "block"
	ColdDrop  OnColdFull = "drop"
	ColdHold  OnColdFull = "hold"
)

var onColdFulls = []string{string(ColdBlock), string(ColdDrop), string(ColdHold)}

var _ scalar = (*OnColdFull)(nil)

func (o *OnColdFull) scan(text string) error {
	err := pick("on_cold_full", text, onColdFulls)
	if err == nil {
		*o = OnColdFull(text)
	}
	return err
}

func (*OnColdFull) shape() map[string]any { return enum(onColdFulls) }

// judgeCold sees that a stream can have the cold tier that it is given.
func (c *Config) judgeCold(add report, name string) {
	s, key := c.Streams[name], "streams."+name
	switch {
	case s.Cold.Path == "" && s.OnColdFull != "":
		add(key+".on_cold_full", "name a directory in cold, or remove the key", "stream %q has no cold tier", name)
	case s.Cold.Path == "":
	case ownStream(name):
		add(key+".cold", "it has hot, min_free and wait", "%q is written by Holdfast alone, and has no other tier", name)
	case strings.Contains(s.Cold.Path, "://"):
		add(key+".cold", "name a directory, and have another program take the files from there", "cold %q: a bucket comes with a later version", s.Cold.Path)
	case len(s.Cold.More) > 0:
		add(key+".cold", "name one", "cold takes one directory, not %d", 1+len(s.Cold.More))
	case s.Keep == KeepDelivered:
		add(key+".cold", "remove one of them", "\"keep: delivered\" keeps nothing that could be copied")
	}
}

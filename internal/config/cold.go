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
	bucket, _, isBucket, err := ParseBucket(s.Cold.Path)
	switch {
	case s.Cold.Path == "" && s.OnColdFull != "":
		add(key+".on_cold_full", "name a directory in cold, or remove the key", "stream %q has no cold tier", name)
	case s.Cold.Path == "":
	case ownStream(name):
		add(key+".cold", "it has hot, min_free and wait", "%q is written by Holdfast alone, and has no other tier", name)
	case s.Keep == KeepDelivered:
		add(key+".cold", "remove one of them", "\"keep: delivered\" keeps nothing that could be copied")
	case len(s.Cold.More) > 0:
		add(key+".cold", "name one", "cold takes one directory, not %d", 1+len(s.Cold.More))
	case err != nil:
		m := meantBy(err)
		add(key+".cold", m.hint, "%s", m.message)
	case isBucket && s.Cold.Size > 0:
		add(key+".cold", "bound it on the server, with a quota, or have the server remove what is old", "the size of bucket %q is not known here", bucket)
	case isBucket:
		c.judgeOpen(add, key, bucket)
	case strings.Contains(s.Cold.Path, "://"), strings.HasPrefix(s.Cold.Path, "s3:"):
		add(key+".cold", "name a directory, or a bucket like s3://bucket/prefix", "cold %q is neither a directory nor a bucket", s.Cold.Path)
	default:
		c.judgeColdDirectory(add, key, s)
	}
}

// judgeOpen sees that a bucket without an entry of its own can be reached.
func (c *Config) judgeOpen(add report, key, bucket string) {
	b := c.BucketNamed(bucket)
	if _, _, err := b.Server(); err != nil && c.Buckets[bucket] == nil {
		add(key+".cold", "say in buckets how it is reached", "%s", meantBy(err).message)
	}
}

// judgeColdDirectory sees that a cold tier is not where segments are written to.
func (c *Config) judgeColdDirectory(add report, key string, s *Stream) {
	dir := absolute(s.Cold.Path)
	if within(dir, absolute(c.Data)) {
		add(key+".cold", "give it a directory of its own, best on another disk", "directory %q is the data directory, or holds it", s.Cold.Path)
		return
	}
	for _, other := range c.StreamNames() {
		for _, p := range c.Streams[other].Places() {
			if d := absolute(p.Path); within(d, dir) || within(dir, d) {
				add(key+".cold", "give it a directory of its own", "directory %q overlaps with that of stream %q", s.Cold.Path, other)
				return
			}
		}
	}
}

// checkCold sees that cold tiers are there, as far as this machine can tell.
func (c *Config) checkCold(bad report) {
	for _, name := range c.StreamNames() {
		p, key := c.Streams[name].Cold.Place, "streams."+name+".cold"
		if p.Path == "" || strings.HasPrefix(p.Path, s3) {
			continue
		}
		checkPlace(bad, key, p)
	}
	c.checkBuckets(bad)
}

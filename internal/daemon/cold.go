package daemon

import (
	"fmt"

	"holdfast"
	"holdfast/internal/cold/bucket"
	"holdfast/internal/config"
)

// coldTier returns a stream's cold tier, which is not asked for anything yet.
func coldTier(c *config.Config, s *config.Stream) (holdfast.Cold, error) {
	one := holdfast.Cold{OnFull: string(s.OnColdFull)}
	name, prefix, is, err := config.ParseBucket(s.Cold.Path)
	if err != nil {
		return one, err
	}
	if !is {
		one.Dir, one.Exists, one.Size = s.Cold.Path, s.Cold.Exist, int64(s.Cold.Size)
		return one, nil
	}
	if one.Store, err = OpenBucket(c, name, prefix); err != nil {
		return holdfast.Cold{}, err
	}
	return one, nil
}

// OpenBucket returns a bucket as the configuration says that it is reached.
func OpenBucket(c *config.Config, name, prefix string) (*bucket.Bucket, error) {
	b := c.BucketNamed(name)
	o := bucket.Options{Bucket: name, Prefix: prefix, Region: b.Region, Keys: func() (bucket.Keys, error) {
		id, secret, token, err := b.Keys()
		return bucket.Keys{ID: id, Secret: secret, Token: token}, err
	}}
	var err error
	if o.Endpoint, o.Plain, err = b.Server(); err != nil {
		return nil, fmt.Errorf("bucket %q: %w", name, err)
	}
	if o.CA, err = b.CA(); err != nil {
		return nil, fmt.Errorf("bucket %q: read ca_file: %w", name, err)
	}
	return bucket.Open(o)
}

package config

import (
	"bufio"
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Bucket says how a bucket is reached, on a server that speaks S3.
type Bucket struct {
	Endpoint string `yaml:"endpoint" doc:"The server: https://host or https://host:port, or http:// on this machine; Amazon's in the region when left out."`
	Region   string `yaml:"region" doc:"Region that requests are signed for; us-east-1 when left out, which servers without regions take."`
	KeysFile string `yaml:"keys_file" doc:"A file with the lines aws_access_key_id = ... and aws_secret_access_key = ..., and aws_session_token = ... where there is one; nobody but its owner may read it. When left out they are taken from the environment, where they have the same names in capitals, and else from the role of the machine or the container."`
	CAFile   string `yaml:"ca_file" doc:"Certificates that sign the server's, in PEM, instead of those that the system trusts."`
}

// s3 is what names a bucket instead of a directory.
const s3 = "s3://"

// The forms that a bucket's name, and what stands before the names of files, have.
var (
	bucketForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

// ParseBucket reads s3://bucket/prefix; is tells whether it means to be that.
func ParseBucket(text string) (name, prefix string, is bool, err error) {
	rest, is := strings.CutPrefix(text, s3)
	if !is {
		return "", "", false, nil
	}
	name, prefix, _ = strings.Cut(rest, "/")
	switch {
	case !bucketForm.MatchString(name):
		return "", "", true, wrong("write it like s3://bucket/prefix", "%q cannot be the name of a bucket", name)
	case len(prefix) > 500 || strings.ContainsFunc(prefix, unicode.IsControl) || strings.Contains("/"+prefix+"/", "/../") || strings.Contains(prefix, "//"):
		return "", "", true, wrong("write it like s3://bucket/prefix", "%q cannot stand before names in a bucket", prefix)
	}
	return name, strings.Trim(prefix, "/"), true, nil
}

// BucketNamed returns how a bucket is reached, with defaults.
func (c *Config) BucketNamed(name string) Bucket {
	b := Bucket{}
	if given := c.Buckets[name]; given != nil {
		b = *given
	}
	b.Region = cmp.Or(b.Region, "us-east-1")
	b.Endpoint = cmp.Or(b.Endpoint, "https://s3."+b.Region+".amazonaws.com")
	return b
}

// Server returns host, or host:port, of the endpoint, and whether it is spoken to
// without TLS.
func (b *Bucket) Server() (host string, plain bool, err error) {
	u, err := url.Parse(b.Endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", false, wrong("write it like https://s3.example.net, and keys into keys_file", "the endpoint is not one")
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return "", false, wrong("use https, with ca_file where it is needed; or a tunnel on this machine", "endpoint %q would carry rows unencrypted over a network", u.Host)
	}
	return u.Host, u.Scheme == "http", nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Keys reads what requests are signed with, from the file at each call. They are
// never to be printed. All are "" where no file is named and none are in the
// environment: then they are those of the machine's role.
func (b *Bucket) Keys() (id, secret, token string, err error) {
	got := map[string]string{}
	from := "the environment"
	if b.KeysFile == "" {
		for _, name := range keyNames {
			got[name] = os.Getenv(strings.ToUpper(name))
		}
	} else {
		from = fmt.Sprintf("%q", b.KeysFile)
		text, err := Secret(b.KeysFile)
		if err == nil {
			got, err = scanKeys(text)
		}
		if err != nil {
			return "", "", "", err
		}
	}
	id, secret, token = got[keyNames[0]], got[keyNames[1]], got[keyNames[2]]
	if b.KeysFile == "" && id == "" && secret == "" {
		return "", "", "", nil
	}
	if id == "" || secret == "" {
		return "", "", "", wrong("name a keys_file for the bucket; it has the lines aws_access_key_id = ... and aws_secret_access_key = ...", "there are no keys, or only a part of them, in %s", from)
	}
	return id, secret, token, nil
}

// keyNames are those of the keys: who, with what, and for how long.
var keyNames = []string{"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}

// scanKeys reads lines of name = value, as the tools of Amazon write them. What is
// in a line that cannot be read is not told: it may be a key.
func scanKeys(text string) (map[string]string, error) {
	got := map[string]string{}
	sections := 0
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && sections == 0:
			sections++
		case line[0] == '[':
			return nil, wrong("keep one in a file of its own", "line %d begins a second section", n)
		case !ok || !slices.Contains(keyNames, name) || got[name] != "":
			return nil, wrong("it has the lines aws_access_key_id = ... and aws_secret_access_key = ..., and may have aws_session_token = ...", "line %d is none of the keys, or there twice", n)
		default:
			got[name] = value
		}
	}
	return got, lines.Err()
}

// judgeBuckets sees that buckets can be reached in the way that is given.
func (c *Config) judgeBuckets(add report) {
	for _, name := range slices.Sorted(maps.Keys(c.Buckets)) {
		key := "buckets." + name
		if !bucketForm.MatchString(name) {
			add(key, "buckets are named as in cold: s3://bucket/prefix", "%q cannot be the name of a bucket", name)
		}
		b := c.BucketNamed(name)
		if !regionForm.MatchString(b.Region) {
			add(key+".region", "like eu-central-1", "%q cannot be a region", b.Region)
			continue
		}
		if _, _, err := b.Server(); err != nil {
			m := meantBy(err)
			add(key+".endpoint", m.hint, "%s", m.message)
		}
	}
}

// checkBuckets sees that what reaches buckets is there.
func (c *Config) checkBuckets(bad report) {
	used := map[string]string{}
	for _, stream := range c.StreamNames() {
		if name, _, is, err := ParseBucket(c.Streams[stream].Cold.Path); is && err == nil {
			used[name] = "streams." + stream + ".cold"
		}
	}
	for name := range c.Buckets {
		used[name] = "buckets." + name
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		b := c.BucketNamed(name)
		key := used[name]
		if b.KeysFile != "" {
			key += ".keys_file"
		}
		if _, _, _, err := b.Keys(); err != nil {
			m := meantBy(err)
			bad(key, m.hint, "keys of bucket %q: %s", name, m.message)
		}
		if _, err := b.CA(); err != nil {
			bad("buckets."+name+".ca_file", "the user that the server runs as must be able to read it", "ca_file: %s", err)
		}
	}
}

// CA reads the file of certificates; nil: there is none.
func (b *Bucket) CA() ([]byte, error) {
	if b.CAFile == "" {
		return nil, nil
	}
	return os.ReadFile(b.CAFile)
}

// meantBy returns an error as what is wrong and what to do.
func meantBy(err error) *meant {
	if m, ok := err.(*meant); ok {
		return m
	}
	return &meant{err.Error(), "the user that the server runs as must be able to read it"}
}

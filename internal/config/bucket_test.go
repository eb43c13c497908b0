package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeys reads keys as the tools of Amazon write them, and from the environment.
// What cannot be read is refused, and nothing of it is told.
func TestKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	b := Bucket{KeysFile: file}
	write("# for the archive\n[default]\naws_access_key_id = AKID\n aws_secret_access_key=se=cret/+ \n\naws_session_token = tok\n", 0o600)
	if id, secret, token, err := b.Keys(); err != nil || id != "AKID" || secret != "se=cret/+" || token != "tok" {
		t.Errorf("%q, %q, %q: %v", id, secret, token, err)
	}
	for what, text := range map[string]string{
		"a bare secret": "hushhush\n", "two sections": "[a]\naws_access_key_id=AKID\n[b]\naws_access_key_id=hushhush\n", "one key": "aws_access_key_id=hushhush\n",
		"a key twice": "aws_access_key_id=a\naws_secret_access_key=hushhush\naws_secret_access_key=hushhush2\n", "another name": "secret=hushhush\n",
	} {
		write(text, 0o600)
		if _, _, _, err := b.Keys(); err == nil || strings.Contains(err.Error(), "hushhush") {
			t.Errorf("%s: %v", what, err)
		}
	}
	write("aws_access_key_id=AKID\naws_secret_access_key=hushhush\n", 0o644)
	if _, _, _, err := b.Keys(); err == nil || strings.Contains(err.Error(), "hushhush") {
		t.Errorf("a file that others may read: %v", err)
	}
	b.KeysFile = ""
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hushhush")
	t.Setenv("AWS_SESSION_TOKEN", "")
	if _, _, _, err := b.Keys(); err == nil || strings.Contains(err.Error(), "hushhush") {
		t.Errorf("half the keys in the environment: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if id, secret, token, err := b.Keys(); id+secret+token != "" || err != nil { // those of the role
		t.Errorf("no keys are %q, %q, %q: %v", id, secret, token, err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hushhush")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	if id, secret, token, err := b.Keys(); err != nil || id != "AKID" || secret != "hushhush" || token != "" {
		t.Errorf("%q, %q, %q: %v", id, secret, token, err)
	}
}

// TestBucketNamed reads where a bucket is, with what is left out.
func TestBucketNamed(t *testing.T) {
	c, err := Parse("f", []byte("{streams: {a: {tables: [a], cold: \"s3://archive/site one/x/\"}, b: {tables: [b], cold: \"s3://other\"}}, buckets: {archive: {endpoint: \"http://[::1]:9000\", region: eu-1}}}"))
	if err != nil {
		t.Fatal(err)
	}
	name, prefix, is, err := ParseBucket(c.Streams["a"].Cold.Path)
	if name != "archive" || prefix != "site one/x" || !is || err != nil {
		t.Errorf("%q, %q, %v: %v", name, prefix, is, err)
	}
	b := c.BucketNamed(name)
	if host, plain, err := b.Server(); host != "[::1]:9000" || !plain || err != nil {
		t.Errorf("%q, %v: %v", host, plain, err)
	}
	b = c.BucketNamed("other")
	if host, plain, err := b.Server(); host != "s3.us-east-1.amazonaws.com" || plain || err != nil {
		t.Errorf("%q, %v: %v", host, plain, err)
	}
	if files := c.SecretFiles(); len(files) != 0 {
		t.Errorf("%v", files)
	}
}

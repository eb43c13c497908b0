package config

// Web is how the HTTP door takes rows.
type Web struct {
	MaxBody Size `yaml:"max_body" doc:"Bytes that the rows of one request may have, unpacked."`
}

// defaultWeb takes as much as a transaction does.
var defaultWeb = Web{MaxBody: 1 << 30}

func (c *Config) judgeWeb(add report) {
	if c.HTTP.MaxBody < 1 {
		add("http.max_body", "like \"64 MB\"", "max_body %q lets no row in", c.HTTP.MaxBody.String())
	}
}

package strict_test

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// menu has a field of every kind that a configuration can have.
type menu struct {
	Title   string            `yaml:"title,omitempty"`
	Open    bool              `yaml:"open,omitempty"`
	Seats   int               `yaml:"seats,omitempty"`
	Tables  uint8             `yaml:"tables,omitempty"`
	Price   float64           `yaml:"price,omitempty"`
	Wait    time.Duration     `yaml:"wait,omitempty"`
	Until   time.Time         `yaml:"until,omitempty"`
	Mode    mode              `yaml:"mode,omitempty"`
	Tags    []string          `yaml:"tags,omitempty"`
	Token   string            `yaml:"token,omitempty"`
	Env     map[string]string `yaml:"env,omitempty"`
	Dishes  []dish            `yaml:"dishes,omitempty"`
	Chef    *chef             `yaml:"chef,omitempty"`
	Kitchen kitchen           `yaml:"kitchen,omitempty"`
	Hidden  string            `yaml:"-"`
	Address `yaml:",inline"`
}

// Address is embedded.
type Address struct {
	Street string `yaml:"street,omitempty"`
}

type dish struct {
	Name  string   `yaml:"name,omitempty"`
	Hot   bool     `yaml:"hot"`
	Parts []string `yaml:"parts,omitempty"`
	More  []dish   `yaml:"more,omitempty"`
}

func (d *dish) SetDefaults() { d.Hot = true }

type chef struct {
	Name  string `yaml:"name,omitempty"`
	Stars int    `yaml:"stars"`
}

func (c *chef) SetDefaults() { c.Stars = 3 }

type kitchen struct {
	Ovens int  `yaml:"ovens,omitempty"`
	Sink  sink `yaml:"sink,omitempty" strict:"sibling"`
}

type sink struct {
	Depth int `yaml:"depth,omitempty"`
}

// mode is octal.
type mode uint32

func (m *mode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 9)
	if err != nil {
		return errors.New("want a mode in octal")
	}
	*m = mode(n)
	return nil
}

func (m mode) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%04o", uint32(m)), nil }

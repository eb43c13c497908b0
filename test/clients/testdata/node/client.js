// Writes through node-postgres, and reports each step. Arguments: host, port, user, database.
'use strict';
const { Client, Pool } = require('pg');

async function main() {
  const [host, port, user, database] = process.argv.slice(2);
  const where = { host, port: Number(port), user, database, ssl: false };
  console.log('version ' + require('pg/package.json').version);
  const client = new Client(where);
  await client.connect();
  const step = async (name, run) => {
    let got;
    try {
      const r = await run();
      got = Array.isArray(r) ? r.map((x) => `${x.command} ${x.rowCount}`).join(', ') : r && r.command ? `${r.command} ${r.rowCount}` : String(r);
    } catch (e) {
      got = e.code ? `SQLSTATE ${e.code}` : `error ${e.message}`;
    }
    console.log(`step ${name}: ${got}`);
  };
  const values = [
    ['b', true], ['i2', -7], ['i4', 2147483647], ['i8', 9007199254740993n], ['i8', '-9223372036854775808'], ['f4', 1.25], ['f8', 1e-300], ['f8', NaN],
    ['n', '123456789.12345'], ['nn', 0.1], ['t', 'it\'s \\ "x"\t\n\u00e9\u{1F600}'], ['t', ''], ['v', 'varchar'], ['c', 'ab'], ['by', Buffer.from([0, 1, 255, 92])],
    ['d', '2026-02-28'], ['tm', '23:59:59.999999'], ['ts', new Date(Date.UTC(2026, 10, 21, 0, 47, 52, 123))], ['tz', new Date(Date.UTC(2026, 10, 21, 0, 47, 52, 123))],
    ['iv', '1 day 00:00:05'], ['u', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'], ['j', { a: [1, null] }], ['jb', { b: '\u00e9' }], ['ip', '10.0.0.0/8'],
    ['ai', [1, -2, null]], ['at', ['a', 'b c', '"', '\\']], ['t', null], ['t', undefined], ['Mixed Case', 'x'],
    ['i2', 40000], ['i4', 'seven'], ['i4', 1.5], ['d', '2026-02-30'], ['c', 'too long'], ['nothing', 1], ['tag', null],
  ];
  for (const [column, value] of values) {
    await step(`${value === null ? 'null' : typeof value} into ${column}`, () =>
      client.query(`INSERT INTO node (tag, "${column}") VALUES ($1, $2)`, [column, value]));
  }
  for (let i = 0; i < 3; i++) {
    await step('named statement', () => client.query({ name: 'again', text: 'INSERT INTO node (tag, i4, t) VALUES ($1, $2, $3)', values: ['named', i, null] }));
  }
  await step('without arguments', () => client.query("INSERT INTO node (tag) VALUES ('plain'), ('plain')"));
  await step('several statements', () => client.query("INSERT INTO node (tag) VALUES ('first'); INSERT INTO node (tag) VALUES ('second')"));
  await step('queued', () => Promise.all([1, 2, 3, 4, 5].map((i) => client.query('INSERT INTO node (tag, i4) VALUES ($1, $2)', ['queued', i]))));
  await step('transaction', async () => {
    await client.query('BEGIN');
    await client.query('INSERT INTO node (tag) VALUES ($1)', ['transaction']);
    return client.query('COMMIT');
  });
  await step('rolled back', async () => {
    await client.query('BEGIN');
    await client.query('INSERT INTO node (tag) VALUES ($1)', ['never']);
    return client.query('ROLLBACK');
  });
  await step('bad row in a transaction', async () => {
    await client.query('BEGIN');
    await client.query('INSERT INTO node (tag) VALUES ($1)', ['never']);
    const said = [];
    for (const n of ['x', 1]) {
      try { await client.query('INSERT INTO node (tag, i4) VALUES ($1, $2)', ['never', n]); } catch (e) { said.push(e.code); }
    }
    const end = await client.query('COMMIT');
    return said.join(', ') + ', ' + end.command;
  });
  await step('unknown table', () => client.query('INSERT INTO nowhere (a) VALUES ($1)', [1]));
  await step('savepoint', async () => {
    await client.query('BEGIN');
    try {
      await client.query('SAVEPOINT s');
      await client.query("INSERT INTO node (tag) VALUES ('never')");
      await client.query('ROLLBACK TO SAVEPOINT s');
      return 'rolled back to it';
    } finally {
      await client.query('ROLLBACK');
    }
  });
  await step('RETURNING', async () => {
    await client.query('BEGIN');
    try {
      return (await client.query("INSERT INTO node (tag) VALUES ('never') RETURNING tag")).rows[0].tag;
    } finally {
      await client.query('ROLLBACK');
    }
  });
  await step('SELECT', async () => (await client.query("SELECT count(*) AS n FROM node WHERE tag = 'queued'")).rows[0].n);
  await client.end();

  const pool = new Pool({ ...where, max: 1 });
  await step('Pool', () => pool.query('INSERT INTO node (tag) VALUES ($1)', ['pool']));
  await pool.end();
}

main().catch((e) => { console.error(e); process.exit(1); });

// What testcontainers' documentation for Node shows, on a cluster: `node testcontainers.mjs NODE FOLDER`.
import assert from 'node:assert/strict'
import { GenericContainer, Network, Wait } from 'testcontainers'

// It looks for published ports at "localhost".
const HERE = { 'swarm.x.constraint': `node.hostname==${process.argv[2]}` }

async function shows(what, check) {
  await check()
  console.log(`${what} shown`)
}

await shows('published ports', async () => {
  const web = await new GenericContainer('web:lab').withExposedPorts(80).withLabels(HERE)
    .withWaitStrategy(Wait.forHttp('/', 80)).start()
  const answer = await fetch(`http://${web.getHost()}:${web.getMappedPort(80)}/`)
  assert.equal(answer.status, 200)
  await web.restart({ timeout: 1000 })
  assert.equal((await fetch(`http://${web.getHost()}:${web.getMappedPort(80)}/`)).status, 200)
  await web.stop()
})
await shows('programs and files', async () => {
  const box = await new GenericContainer('busybox:lab').withCommand(['sh', '-c', 'echo ready; sleep 100'])
    .withEnvironment({ A: 'b' }).withWaitStrategy(Wait.forLogMessage('ready'))
    .withCopyContentToContainer([{ content: 'carried', target: '/tmp/there' }]).start()
  const said = await box.exec(['sh', '-c', 'cat /tmp/there; echo $A'])
  assert.deepEqual([said.output, said.exitCode], ['carriedb\n', 0])
  await box.stop()
})
await shows('health checks', async () => {
  const web = await new GenericContainer('web:lab')
    .withHealthCheck({ test: ['CMD', '/web', 'check'], interval: 300, timeout: 1000, retries: 10, startPeriod: 100 })
    .withWaitStrategy(Wait.forHealthCheck()).start()
  await web.stop()
})
await shows('networks', async () => {
  const network = await new Network().start()
  const web = await new GenericContainer('web:lab').withNetwork(network).withNetworkAliases('web', 'front').start()
  const box = await new GenericContainer('busybox:lab').withNetwork(network).withCommand(['sleep', '100']).start()
  for (const name of ['web', 'front']) {
    assert.equal((await box.exec(['wget', '-qO-', `http://${name}/`])).exitCode, 0, name)
  }
  await Promise.all([web.stop(), box.stop()])
  await network.stop()
})
await shows('images', async () => {
  const built = await GenericContainer.fromDockerfile(process.argv[3]).build('tested:2', { deleteOnExit: false })
  const box = await built.withCommand(['sleep', '100']).start()
  assert.equal((await box.exec(['cat', '/made'])).output, 'built\n')
  await box.stop()
})

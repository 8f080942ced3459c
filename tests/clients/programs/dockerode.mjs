// What dockerode's documentation shows, on a cluster: `node dockerode.mjs SOCKET`. Prints how much of it held.
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { createRequire } from 'node:module'
import Docker from 'dockerode'

const tar = createRequire(import.meta.url)('tar-stream')
const docker = new Docker({ socketPath: process.argv[2] })
const IMAGE = 'busybox:lab'
const SLEEP = ['sh', '-c', 'echo one; trap exit TERM; while :; do sleep 1 & wait; done']
let held = 0

async function shows(what, check) {
  try {
    await check()
  } catch (error) {
    error.message = `${what}: ${error.message}`
    throw error
  }
  held += 1
}

function archive(files) {
  const pack = tar.pack()
  for (const [name, text] of Object.entries(files)) pack.entry({ name }, text)
  pack.finalize()
  return pack
}

async function text(stream) {
  const parts = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}

// Follow the progress of a build or a pull to its end.
function followed(stream) {
  return new Promise((resolve, reject) =>
    docker.modem.followProgress(stream, (error, said) => (error ? reject(error) : resolve(said))))
}

// Take what a container's stream carries apart, until it ends.
async function demuxed(stream) {
  const out = new PassThrough(), err = new PassThrough()
  docker.modem.demuxStream(stream, out, err)
  stream.on('end', () => { out.end(); err.end() })
  return { out: String(await text(out)), err: String(await text(err)) }
}

async function until(ready) {
  const end = Date.now() + 40000
  for (;;) {
    const found = await ready()
    if (found) return found
    assert(Date.now() < end, 'not in 40 s')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function refused(promise, status, words) {
  await assert.rejects(promise, (error) => error.statusCode === status && error.message.includes(words))
}

await shows('ping', async () => assert.equal(String(await docker.ping()), 'OK'))
await shows('version', async () => assert.equal((await docker.version()).ApiVersion, '1.51'))
await shows('info', async () => assert.equal((await docker.info()).Swarm.Nodes, 3))
await shows('df', async () => assert((await docker.df()).Images.length))
await shows('listPlugins', async () => assert.deepEqual(await docker.listPlugins(), []))
await shows('checkAuth', async () => refused(docker.checkAuth({ username: 'x', password: 'y' }), 500, ''))

const box = await docker.createContainer({ Image: IMAGE, Cmd: SLEEP, name: 'ode', Labels: { of: 'ode' } })
await shows('start', async () => box.start())
await shows('inspect', async () => assert((await box.inspect()).State.Running))
await shows('listContainers', async () => {
  const found = await docker.listContainers({ filters: { label: ['of=ode'] } })
  assert.deepEqual(found.map((each) => each.Id), [box.id])
})
await shows('getContainer by name', async () => assert.equal((await docker.getContainer('ode').inspect()).Id, box.id))
await shows('logs', async () => {
  const stream = await box.logs({ stdout: true, stderr: true, follow: false })
  assert.match(String(stream), /one/)
})
await shows('logs, followed', async () => {
  const stream = await box.logs({ stdout: true, follow: true })
  const [first] = await new Promise((resolve) => stream.once('data', (data) => resolve([data])))
  assert.match(String(first), /one/)
  stream.destroy()
})
await shows('top', async () => assert((await box.top()).Titles.length))
await shows('stats', async () => assert.equal((await box.stats({ stream: false })).name, '/ode'))
await shows('exec', async () => {
  const made = await box.exec({ Cmd: ['sh', '-c', 'echo out; echo err >&2; exit 4'], AttachStdout: true, AttachStderr: true })
  const said = await demuxed(await made.start({}))
  assert.deepEqual(said, { out: 'out\n', err: 'err\n' })
  assert.equal((await made.inspect()).ExitCode, 4)
})
await shows('exec with input', async () => {
  const made = await box.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true })
  const stream = await made.start({ hijack: true, stdin: true })
  stream.write('said\n')
  stream.end()
  assert.equal((await demuxed(stream)).out, 'said\n')
})
await shows('exec in a terminal', async () => {
  const made = await box.exec({ Cmd: ['echo', 'out'], AttachStdout: true, Tty: true })
  assert.equal(String(await text(await made.start({ Tty: true }))), 'out\r\n')
  await made.inspect()
})
await shows('attach', async () => {
  const other = await docker.createContainer({ Image: IMAGE, Cmd: ['sh', '-c', 'read a; echo heard $a'], OpenStdin: true, StdinOnce: true })
  const stream = await other.attach({ stream: true, stdin: true, stdout: true, hijack: true })
  await other.start()
  stream.write('this\n')
  assert.equal((await demuxed(stream)).out, 'heard this\n')
  assert.equal((await other.wait()).StatusCode, 0)
  await other.remove()
})
await shows('run', async () => {
  const out = new PassThrough()
  const written = text(out)
  const [data, ran] = await docker.run(IMAGE, ['sh', '-c', 'echo ran; exit 2'], out, { HostConfig: {} })
  assert.equal(data.StatusCode, 2)
  out.end()
  assert.match(String(await written), /ran/)
  await ran.remove()
})
await shows('archives', async () => {
  await box.putArchive(archive({ there: 'carried' }), { path: '/tmp' })
  assert.match(String(await text(await box.getArchive({ path: '/tmp/there' }))), /carried/)
  assert((await box.infoArchive({ path: '/tmp/there' })) !== undefined)
})
await shows('changes', async () => assert((await box.changes()).some((each) => each.Path === '/tmp/there')))
await shows('export', async () => assert((await text(await box.export())).length > 1000))
await shows('commit', async () => {
  const made = await box.commit({ repo: 'ode', tag: 'committed', changes: ['ENV A=b', 'LABEL c=d'] })
  assert.match(made.Id, /^sha256:/)
  const config = (await docker.getImage('ode:committed').inspect()).Config
  assert(config.Env.includes('A=b') && config.Labels.c === 'd')
  await docker.getImage('ode:committed').remove()
})
await shows('life', async () => {
  await box.pause()
  await box.unpause()
  await box.rename({ name: 'ode2' })
  await box.resize({ h: 30, w: 90 })
  await box.update({ Memory: 128 << 20, MemorySwap: 128 << 20 })
  await box.restart({ t: 1 })
  await box.kill({ signal: 'SIGKILL' })
  assert.equal((await box.wait()).StatusCode, 137)
  await box.start()
  await refused(box.start(), 304, '')
  await box.stop({ t: 1 })
})
await shows('errors', async () => {
  await refused(docker.getContainer('none').inspect(), 404, 'No such container')
  await refused(docker.createContainer({ Image: 'none:such' }), 404, 'No such image')
  await refused(docker.createContainer({}), 400, 'config cannot be empty')
  await refused(docker.createContainer({ Image: IMAGE, HostConfig: { Links: ['nobody:x'] } }), 400, 'No such container: nobody')
})
await shows('remove', async () => box.remove({ force: true, v: true }))
await shows('pruneContainers', async () => assert('SpaceReclaimed' in await docker.pruneContainers({ filters: { label: ['of=ode'] } })))

const DOCKERFILE = `FROM ${IMAGE}\nCOPY word /word\nRUN cat /word\n`
await shows('buildImage', async () => {
  const said = await followed(await docker.buildImage(archive({ Dockerfile: DOCKERFILE, word: 'of ode' }), { t: 'ode:1' }))
  assert(said.some((each) => /Successfully tagged/.test(each.stream ?? '')))
})
await shows('buildImage, compressed', async () => {
  const whole = gzipSync(await text(archive({ Dockerfile: DOCKERFILE, word: 'of gzip' })))
  const said = await followed(await docker.buildImage(new PassThrough().end(whole), { t: 'ode:gzip' }))
  assert(said.some((each) => /Successfully tagged/.test(each.stream ?? '')))
  await docker.getImage('ode:gzip').remove()
})
await shows('images', async () => {
  const image = docker.getImage('ode:1')
  assert((await image.history()).length > 1)
  await image.tag({ repo: 'ode', tag: '2' })
  assert((await docker.listImages({ filters: { reference: ['ode'] } }))[0].RepoTags.length === 2)
  const whole = await text(await docker.getImage('ode:2').get())
  await docker.getImage('ode:2').remove()
  await docker.getImage('ode:1').remove({ force: true })
  await followed(await docker.loadImage(new PassThrough().end(whole)))
  const out = new PassThrough()
  const written = text(out)
  const [, ran] = await docker.run('ode:2', ['cat', '/word'], out)
  out.end()
  assert.match(String(await written), /of ode/)
  await ran.remove()
  await docker.getImage('ode:2').remove()
})
await shows('pull of what no registry has', async () => {
  await assert.rejects(docker.pull('127.0.0.1:9/none:1').then(followed))
})
await shows('push of what no registry takes', async () => {
  await docker.getImage(IMAGE).tag({ repo: '127.0.0.1:9/none', tag: '1' })
  const image = docker.getImage('127.0.0.1:9/none:1')
  assert((await image.push({ tag: '1' }).then(followed)).at(-1).error)
  await image.remove()
})
await shows('pruneImages', async () => assert('SpaceReclaimed' in await docker.pruneImages({ filters: { dangling: ['true'] } })))

await shows('networks', async () => {
  const network = await docker.createNetwork({ Name: 'ode', Labels: { of: 'ode' } })
  assert((await network.inspect()).Attachable)
  const other = await docker.createContainer({ Image: IMAGE, Cmd: SLEEP, name: 'ode3' })
  await other.start()
  await network.connect({ Container: other.id, EndpointConfig: { Aliases: ['known'] } })
  assert((await network.inspect()).Containers[other.id])
  assert((await other.inspect()).NetworkSettings.Networks.ode.Aliases.includes('known'))
  await network.disconnect({ Container: other.id })
  await other.remove({ force: true })
  assert.equal((await docker.listNetworks({ filters: { name: ['ode'] } })).length, 1)
  assert.deepEqual((await docker.pruneNetworks({ filters: { label: ['of=ode'] } })).NetworksDeleted, ['ode'])
})
await shows('volumes', async () => {
  await docker.createVolume({ Name: 'ode', Labels: { of: 'ode' } })
  assert.equal((await docker.getVolume('ode').inspect()).Labels.of, 'ode')
  assert.equal((await docker.listVolumes({ filters: { label: ['of=ode'] } })).Volumes.length, 1)
  await docker.getVolume('ode').remove()
  assert.deepEqual((await docker.pruneVolumes({ filters: { label: ['of=ode'] } })).VolumesDeleted, [])
})

await shows('services', async () => {
  const spec = {
    Name: 'ode', Mode: { Replicated: { Replicas: 2 } }, EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8087 }] },
    TaskTemplate: { ContainerSpec: { Image: IMAGE, Command: SLEEP, StopGracePeriod: 0 } },
  }
  await docker.createService(spec)
  const service = docker.getService('ode')
  const running = async () => (await docker.listTasks({ filters: { service: ['ode'], 'desired-state': ['running'] } }))
    .filter((task) => task.Status.State === 'running')
  await until(async () => (await running()).length === 2)
  const shown = await service.inspect()
  assert(shown.Endpoint.VirtualIPs.every((each) => /\/\d+$/.test(each.Addr)))
  await service.update({ ...spec, version: shown.Version.Index, Mode: { Replicated: { Replicas: 1 } } })
  await until(async () => (await running()).length === 1)
  assert.match(String(await service.logs({ stdout: true })), /one/)
  const [task] = await running()
  assert.equal((await docker.getTask(task.ID).inspect()).ServiceID, shown.ID)
  assert.equal((await docker.listServices({ filters: { name: ['ode'] } })).length, 1)
  await service.remove()
  await refused(service.inspect(), 404, 'not found')
})
await shows('secrets and configs', async () => {
  const secret = await docker.createSecret({ Name: 'ode', Data: 'aHVzaA==' })
  const config = await docker.createConfig({ Name: 'ode', Data: 'cGxhaW4=' })
  assert.equal((await config.inspect()).Spec.Data, 'cGxhaW4=')
  const shown = await secret.inspect()
  await secret.update({ ...shown.Spec, Labels: { a: 'b' }, version: shown.Version.Index })
  assert.equal((await docker.listSecrets()).length, 1)
  assert.equal((await docker.listConfigs()).length, 1)
  await secret.remove()
  await config.remove()
})
await shows('nodes', async () => {
  const nodes = await docker.listNodes()
  assert.equal(nodes.length, 3)
  const node = docker.getNode(nodes[0].ID)
  const shown = await node.inspect()
  await node.update({ ...shown.Spec, Labels: { ode: '1' }, version: shown.Version.Index })
  assert.equal((await node.inspect()).Spec.Labels.ode, '1')
})
await shows('swarm', async () => {
  const shown = await docker.swarmInspect()
  await docker.swarmUpdate({ ...shown.Spec, version: shown.Version.Index })
  await refused(docker.swarmInit({}), 503, 'already part of a swarm')
  await refused(docker.swarmLeave({ force: true }), 409, 'swarm-worker leave')
})
await shows('events', async () => {
  const stream = await docker.getEvents({ filters: { type: ['volume'] } })
  const heard = new Promise((resolve) => stream.once('data', (data) => resolve(JSON.parse(data))))
  await docker.createVolume({ Name: 'evented' })
  assert.equal((await heard).Actor.ID, 'evented')
  stream.destroy()
  await docker.getVolume('evented').remove()
})
console.log(`${held} of ${held} shown`)

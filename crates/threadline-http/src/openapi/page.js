'use strict';
// Shows the document that stands in the page. Everything is put in as text, never as HTML.
const api = JSON.parse(document.getElementById('document').textContent);
const main = document.querySelector('main');

function element(name, ...content) {
  const made = document.createElement(name);
  made.append(...content);
  return made;
}

function code(text) {
  return element('code', text);
}

/// A schema in a few words, its names as they are in the components.
function words(schema) {
  if (!schema || schema === true) return 'anything';
  if (schema.$ref) return schema.$ref.split('/').pop();
  if (schema.anyOf || schema.oneOf) return (schema.anyOf || schema.oneOf).map(words).join(' or ');
  if (schema.type === 'array') return 'list of ' + words(schema.items);
  const type = [].concat(schema.type || 'anything').join(' or ');
  return schema.format ? `${type} (${schema.format})` : type;
}

function table(head, rows) {
  const made = element('table', element('tr', ...head.map(text => element('th', text))));
  for (const row of rows) made.append(element('tr', ...row.map(cell => element('td', cell))));
  return made;
}

function contents(content) {
  return Object.entries(content || {}).map(([media, {schema}]) => `${media}: ${words(schema)}`).join(', ');
}

/// A form that sends the request, and shows what comes back.
function trial(method, path, operation) {
  const fields = (operation.parameters || []).map(parameter => ({parameter, input: element('input')}));
  const rows = fields.map(({parameter, input}) => {
    input.placeholder = words(parameter.schema);
    return [code(parameter.name), `${parameter.in}${parameter.required ? ', required' : ''}`, input];
  });
  const made = element('div');
  if (rows.length) made.append(table(['Parameter', 'In', 'Value'], rows));
  const media = Object.keys(operation.requestBody?.content || {})[0];
  const body = element('textarea');
  if (media) made.append(element('p', `Body: ${contents(operation.requestBody.content)}`), body);
  const send = element('button', 'Send');
  const answer = element('pre', '');
  answer.hidden = true;
  send.onclick = async () => {
    const query = new URLSearchParams();
    const headers = media ? {'content-type': media} : {};
    let target = path;
    for (const {parameter, input} of fields) {
      if (parameter.in === 'path') {
        target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      } else if (input.value !== '' && parameter.in === 'query') {
        query.append(parameter.name, input.value);
      } else if (input.value !== '' && parameter.in === 'header') {
        headers[parameter.name] = input.value;
      }
    }
    if ([...query].length) target += `?${query}`;
    answer.hidden = false;
    answer.textContent = '...';
    try {
      const options = {method: method.toUpperCase(), headers};
      if (media) options.body = body.value;
      const response = await fetch(target, options);
      const fields = [...response.headers].map(([name, value]) => `${name}: ${value}\n`).join('');
      answer.textContent = `${response.status} ${response.statusText}\n${fields}\n${await response.text()}`;
    } catch (error) {
      answer.textContent = String(error);
    }
  };
  made.append(element('p', send), answer);
  return made;
}

function show(method, path, operation) {
  const name = element('span', method.toUpperCase());
  name.className = 'method';
  const title = code(path);
  if (operation.deprecated) title.className = 'deprecated';
  const summary = element('summary', name, title, ' ', operation.summary || '');
  const responses = Object.entries(operation.responses).map(
    ([status, {description, content}]) => [code(status), description, contents(content)]);
  const needs = (operation.security || []).flatMap(Object.keys).join(' or ');
  return element('details', summary, element('p', operation.description || ''),
    needs ? element('p', `Needs: ${needs}`) : '', table(['Status', 'Meaning', 'Content'], responses),
    trial(method, path, operation));
}

document.title = api.info.title;
main.append(element('h1', api.info.title, ' ', element('small', api.info.version)));
main.append(element('p', api.info.description || ''));
const groups = new Map();
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const group = operation.tags?.[0] || 'Operations';
    groups.set(group, [...(groups.get(group) || []), show(method, path, operation)]);
  }
}
for (const [group, operations] of groups) main.append(element('h2', group), ...operations);
const schemas = Object.entries(api.components.schemas);
if (schemas.length) main.append(element('h2', 'Schemas'));
for (const [name, schema] of schemas) {
  const text = element('pre', JSON.stringify(schema, null, 2));
  main.append(element('details', element('summary', code(name)), text));
}
